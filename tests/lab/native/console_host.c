/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Double of conhost.exe, the console host that every console program on Windows has as a child. The argument is the
 * process id of the parent, with which it ends: a process that is dying can be seen for a moment. */
#include <stdlib.h>
#include <windows.h>

enum { DYING_MS = 2000 };

int wmain(int argc, wchar_t **argv)
{
    HANDLE parent = argc > 1 ? OpenProcess(SYNCHRONIZE, FALSE, wcstoul(argv[1], NULL, 10)) : NULL;
    if (!parent || WaitForSingleObject(parent, INFINITE) != WAIT_OBJECT_0)
        return 1;
    Sleep(DYING_MS);
    return 0;
}
