/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Double of AlteryxEngineCmd.exe: a running job is a process of this name; it ends after as many seconds
 * as its argument says. */
#include <stdlib.h>
#include <windows.h>

int wmain(int argc, wchar_t **argv)
{
    Sleep(argc > 1 ? (DWORD)(wcstod(argv[1], NULL) * 1000) : 0);
    return 0;
}
