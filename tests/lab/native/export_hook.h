/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Exports of DLLs, pointed elsewhere inside this process. From ../pwsh/native/launcher.c. */
#ifndef LAB_EXPORT_HOOK_H
#define LAB_EXPORT_HOOK_H
#include <wchar.h>

/* Points the export of a DLL at another function, for whoever looks it up from now on; .NET does so at the first call.
 * Returns the old address, NULL when there is no such export. */
void *hook_export(const wchar_t *dll, const char *name, void *replacement);
#endif
