/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* AlteryxService.exe as the Windows service AlteryxService. */
#ifndef LAB_SERVICE_LOOP_H
#define LAB_SERVICE_LOOP_H

/* Hand this process to the service manager; 0 when it was not started by it. */
int service_run(void);
#endif
