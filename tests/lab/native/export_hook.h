/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Exports of DLLs, pointed elsewhere inside this process. From ../pwsh/native/launcher.c. */
#ifndef LAB_EXPORT_HOOK_H
#define LAB_EXPORT_HOOK_H
#include <wchar.h>

/* Points the export of a DLL at another function. Every later lookup finds that one; .NET looks an export up at its
 * first call. Returns the old address, or NULL if there is no such export. */
void *hook_export(const wchar_t *dll, const char *name, void *replacement);
#endif
