/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What the service needs of its embedded database before it runs. */
#ifndef LAB_MONGOD_LOGIN_H
#define LAB_MONGOD_LOGIN_H
#include "mongod.h"

/* Log in as the user of the settings, by SCRAM-SHA-256. 0; -1: there is no such user, or the password is another. */
int mongod_log_in(const struct mongod *mongod);
#endif
