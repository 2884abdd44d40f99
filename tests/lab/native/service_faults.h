/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What goes wrong when a script starts or stops AlteryxService. Only callers in this process are met: the node's boot
 * and labctl.exe are not. */
#ifndef LAB_SERVICE_FAULTS_H
#define LAB_SERVICE_FAULTS_H

void hook_services(void);
#endif
