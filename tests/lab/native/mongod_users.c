/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Creating database users without a MongoDB shell: one createUser command in MongoDB's wire protocol (OP_MSG
 * with one BSON document). */
#include <winsock2.h>

#include "mongod.h"

#include <stdio.h>
#include <string.h>

#include "settings.h"
#include "text.h"

enum { BSON_STRING = 2, BSON_DOCUMENT = 3, BSON_ARRAY = 4, OP_MSG = 2013 };

static void add_int32(struct text *bytes, int value)
{
    text_add(bytes, (const char *)&value, 4);
}

static void add_string(struct text *document, const char *name, const char *value)
{
    char type = BSON_STRING;
    text_add(document, &type, 1);
    text_add(document, name, strlen(name) + 1);
    add_int32(document, (int)strlen(value) + 1);
    text_add(document, value, strlen(value) + 1);
}

/* elements become a document inside the outer one */
static void add_document(struct text *document, char type, const char *name, const struct text *elements)
{
    text_add(document, &type, 1);
    text_add(document, name, strlen(name) + 1);
    add_int32(document, (int)elements->size + 5);
    text_add(document, elements->data, elements->size);
    text_add(document, "", 1);
}

static int call(int port, const struct text *elements)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((u_short)port)};
    SOCKET connection = socket(AF_INET, SOCK_STREAM, 0);
    struct text message = {0};
    char answer[4096];
    int count = 0, part, i, ok = 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    add_int32(&message, (int)elements->size + 5 + 21);
    add_int32(&message, 1);
    add_int32(&message, 0);
    add_int32(&message, OP_MSG);
    add_int32(&message, 0);
    text_add(&message, "", 1); /* section kind 0: one document follows */
    add_int32(&message, (int)elements->size + 5);
    text_add(&message, elements->data, elements->size);
    text_add(&message, "", 1);
    if (!connect(connection, (struct sockaddr *)&address, sizeof address) &&
        send(connection, message.data, (int)message.size, 0) == (int)message.size) {
        while (count < 4 || count < *(int *)answer) {
            part = recv(connection, answer + count, (int)sizeof answer - count, 0);
            if (part <= 0)
                break;
            count += part;
        }
        /* success is the element "ok": double 1.0 */
        for (i = 0; i + 12 <= count; i++)
            ok |= !memcmp(answer + i, "\001ok\0\0\0\0\0\0\0\360?", 12);
    }
    closesocket(connection);
    return ok ? 0 : -1;
}

int mongod_create_user(const struct mongod *mongod, const char *database, const char *user, const char *password,
                       const char *const roles[][2], int role_count)
{
    struct text command = {0}, list = {0};
    int i;
    add_string(&command, "createUser", user);
    add_string(&command, "pwd", password);
    for (i = 0; i < role_count; i++) {
        struct text role = {0};
        char index[12];
        snprintf(index, sizeof index, "%d", i);
        add_string(&role, "role", roles[i][0]);
        add_string(&role, "db", roles[i][1]);
        add_document(&list, BSON_DOCUMENT, index, &role);
    }
    add_document(&command, BSON_ARRAY, "roles", &list);
    add_string(&command, "$db", database);
    return call(mongod->port, &command);
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
