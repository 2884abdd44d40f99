/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What PowerShell writes into the event log of Windows, which Wine does not keep: with event_log=record each event for
 * PowerShell/Operational is appended to C:\AlteryxLab\powershell-events.txt, a line "event NUMBER process ID" and its
 * texts (UTF-8). */
#ifndef LAB_EVENT_LOG_H
#define LAB_EVENT_LOG_H
void hook_event_log(void);
#endif
