/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where a controller answers the other nodes of its fleet: Controller/ServicePort, and only where the lab has set one,
 * because port 80 needs special rights.
 */
#ifndef SERVICE_PORT_H
#define SERVICE_PORT_H

void service_port_open(void);
void service_port_close(void);

#endif
