/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* AlteryxService_MongoController.exe, with which emongodump=spawn_via_controller starts mongod.exe. It has no
 * running parent, and it runs until it is asked to end, also after emongodump has ended or failed. */
#ifndef LAB_MONGO_CONTROLLER_H
#define LAB_MONGO_CONTROLLER_H
#include "mongod.h"

#define CONTROLLER_READY L"Global\\LabMongoController_ready"
#define CONTROLLER_END L"Global\\LabMongoController_end"
#define CONTROLLER_ENDED L"Global\\LabMongoController_ended"

/* Let it start mongod.exe and wait until that answers: 0 or -1. Only port of mongod is filled. */
int controller_start(struct mongod *mongod);
/* Let both end, and wait. */
void controller_stop(void);
#endif
