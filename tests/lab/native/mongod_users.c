/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "mongo_message.h"

#include "mongod.h"

#include <stdio.h>

#include "settings.h"
#include "text.h"

int mongod_create_user(const struct mongod *mongod, const char *database, const char *user, const char *password,
                       const char *const roles[][2], int role_count)
{
    struct text command = {0}, list = {0};
    int i;
    bson_string(&command, "createUser", user);
    bson_string(&command, "pwd", password);
    for (i = 0; i < role_count; i++) {
        struct text role = {0};
        char index[12];
        snprintf(index, sizeof index, "%d", i);
        bson_string(&role, "role", roles[i][0]);
        bson_string(&role, "db", roles[i][1]);
        bson_inner(&list, BSON_DOCUMENT, index, &role);
    }
    bson_inner(&command, BSON_ARRAY, "roles", &list);
    bson_string(&command, "$db", database);
    return mongo_command_once(mongod->port, &command);
}

int mongod_create_users(const struct mongod *mongod)
{
    /* The same roles as tests/lab/seed.py gives. */
    static const char *const admin[][2] = {{"root", "admin"}};
    static const char *const user[][2] = {{"readWrite", "AlteryxService"},        {"dbAdmin", "AlteryxService"},
                                          {"readWrite", "AlteryxGallery"},        {"dbAdmin", "AlteryxGallery"},
                                          {"readWrite", "AlteryxGallery_Lucene"}, {"dbAdmin", "AlteryxGallery_Lucene"},
                                          {"backup", "admin"},                    {"restore", "admin"}};
    return mongod_create_user(mongod, "admin", "admin",
               setting_secret("Controller", "EmbeddedMongoDBAdminPasswordEncrypted"), admin, 1) ||
            mongod_create_user(mongod, "AlteryxService", setting("Controller", "EmbeddedMongoDBUserName"),
                setting_secret("Controller", "EmbeddedMongoDBPasswordEncrypted"), user, sizeof user / sizeof *user)
        ? -1
        : 0;
}
