/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Junctions. Wine shows a symbolic link of the host to a folder as a folder with a reparse point, but without a tag
 * that says which, and removes what it leads to instead of itself. In this process it is what a junction is on
 * Windows. */
#ifndef LAB_DIRECTORY_LINKS_H
#define LAB_DIRECTORY_LINKS_H

void hook_directories(void);
#endif
