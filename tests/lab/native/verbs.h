/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* The verbs of AlteryxService.exe that touch the embedded database. Both print to standard output and
 * return the exit code. */
#ifndef LAB_VERBS_H
#define LAB_VERBS_H
#include <wchar.h>

int emongodump(const wchar_t *folder);
/* value: <source>,<target>[,<batch size>] */
int emongorestore(const wchar_t *value);
#endif
