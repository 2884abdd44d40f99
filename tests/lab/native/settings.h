/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* The effective settings of this node: RuntimeSettings.xml of ProgramData over the one of bin\RuntimeData. */
#ifndef LAB_SETTINGS_H
#define LAB_SETTINGS_H
#include <wchar.h>

/* Whether the file of ProgramData is there to its end. */
int settings_are_whole(void);
/* Value of Section/Element, UTF-8; "" when neither file has it. */
const char *setting(const char *section, const char *element);
/* The same as a boolean. */
int setting_true(const char *section, const char *element);
/* The clear text of an ...Encrypted element. The lab's encoding is not encryption. It only avoids clear text on
 * the disk: "00", then each byte XOR the key "lab-of-alteryx-ops" (repeated), in hexadecimal. */
const char *setting_secret(const char *section, const char *element);
/* Folder of the running program, without a backslash at the end. */
const wchar_t *install_folder(void);
#endif
