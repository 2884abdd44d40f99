/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* The embedded MongoDB: mongod.exe of the install folder, started for the service or for one verb. */
#ifndef LAB_MONGOD_H
#define LAB_MONGOD_H
#include <windows.h>

struct mongod {
    HANDLE process;
    DWORD pid;
    int port;
};

/* Start it on a data folder inside the job and wait until its port answers. 0, or -1 with the process gone. */
int mongod_start(struct mongod *mongod, HANDLE job, const wchar_t *data_folder, int with_authentication);
/* Ask it to shut down cleanly and wait; only one that does not is terminated. */
void mongod_stop(struct mongod *mongod);
/* Create the user on a mongod that runs without authentication. 0 or -1. */
int mongod_create_user(const struct mongod *mongod, const char *database, const char *user, const char *password,
                       const char *const roles[][2], int role_count);
/* The two users of an embedded database: admin, and user with the rights to dump and restore. 0 or -1. */
int mongod_create_users(const struct mongod *mongod);
#endif
