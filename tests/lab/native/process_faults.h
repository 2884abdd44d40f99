/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What goes wrong when a script ends a process. */
#ifndef LAB_PROCESS_FAULTS_H
#define LAB_PROCESS_FAULTS_H

void hook_processes(void);
#endif
