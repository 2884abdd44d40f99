/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "mongo_message.h"

#include "mongod_loss.h"

int mongod_drop_database(const struct mongod *mongod, const char *database)
{
    struct text command = {0};
    bson_int32(&command, "dropDatabase", 1);
    bson_string(&command, "$db", database);
    return mongo_command_once(mongod->port, &command);
}

int mongod_lose_documents(
    const struct mongod *mongod, const char *database, const char *collection, const char *field, const char *value)
{
    struct text command = {0}, list = {0}, one = {0}, filter = {0};
    bson_string(&filter, field, value);
    bson_inner(&one, BSON_DOCUMENT, "q", &filter);
    bson_int32(&one, "limit", 0); /* all */
    bson_inner(&list, BSON_DOCUMENT, "0", &one);
    bson_string(&command, "delete", collection);
    bson_inner(&command, BSON_ARRAY, "deletes", &list);
    bson_string(&command, "$db", database);
    return mongo_command_once(mongod->port, &command);
}
