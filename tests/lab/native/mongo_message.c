/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "mongo_message.h"

#include <string.h>

enum { BSON_DOUBLE = 1, BSON_STRING = 2, BSON_BINARY = 5, BSON_INT32 = 16, OP_MSG = 2013 };

static void add_int32(struct text *bytes, int value)
{
    text_add(bytes, (const char *)&value, 4);
}

static void add_name(struct text *document, char type, const char *name)
{
    text_add(document, &type, 1);
    text_add(document, name, strlen(name) + 1);
}

void bson_int32(struct text *document, const char *name, int value)
{
    add_name(document, BSON_INT32, name);
    add_int32(document, value);
}

void bson_string(struct text *document, const char *name, const char *value)
{
    add_name(document, BSON_STRING, name);
    add_int32(document, (int)strlen(value) + 1);
    text_add(document, value, strlen(value) + 1);
}

void bson_binary(struct text *document, const char *name, const char *bytes, size_t count)
{
    add_name(document, BSON_BINARY, name);
    add_int32(document, (int)count);
    text_add(document, "", 1); /* generic */
    text_add(document, bytes, count);
}

void bson_inner(struct text *document, char type, const char *name, const struct text *elements)
{
    add_name(document, type, name);
    add_int32(document, (int)elements->size + 5);
    text_add(document, elements->data, elements->size);
    text_add(document, "", 1);
}

/* Where the value of an element begins, or NULL. To look for its type and name is enough: the answers are short. */
static const char *value_of(const char *answer, int count, char type, const char *name, int size)
{
    int length = (int)strlen(name) + 1, i;
    for (i = 0; i + 1 + length + size <= count; i++)
        if (answer[i] == type && !memcmp(answer + i + 1, name, (size_t)length))
            return answer + i + 1 + length;
    return NULL;
}

static void read_answer(const char *bytes, int count, struct mongo_answer *answer)
{
    const char *ok = value_of(bytes, count, BSON_DOUBLE, "ok", 8);
    const char *conversation = value_of(bytes, count, BSON_INT32, "conversationId", 4);
    const char *payload = value_of(bytes, count, BSON_BINARY, "payload", 5);
    int size;
    memset(answer, 0, sizeof *answer);
    answer->ok = ok && !memcmp(ok, "\0\0\0\0\0\0\360?", 8);
    if (conversation)
        memcpy(&answer->conversation, conversation, 4);
    if (!payload)
        return;
    memcpy(&size, payload, 4);
    if (size >= 0 && size < (int)sizeof answer->payload && payload + 5 + size <= bytes + count)
        memcpy(answer->payload, payload + 5, (size_t)size);
}

SOCKET mongo_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((u_short)port)};
    SOCKET connection = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!connect(connection, (struct sockaddr *)&address, sizeof address))
        return connection;
    closesocket(connection);
    return INVALID_SOCKET;
}

int mongo_command(SOCKET connection, const struct text *elements, struct mongo_answer *answer)
{
    struct text message = {0};
    char bytes[4096];
    int count = 0, part, size = 4;
    memset(answer, 0, sizeof *answer);
    add_int32(&message, (int)elements->size + 5 + 21);
    add_int32(&message, 1);
    add_int32(&message, 0);
    add_int32(&message, OP_MSG);
    add_int32(&message, 0);
    text_add(&message, "", 1); /* section kind 0: one document follows */
    add_int32(&message, (int)elements->size + 5);
    text_add(&message, elements->data, elements->size);
    text_add(&message, "", 1);
    if (send(connection, message.data, (int)message.size, 0) != (int)message.size)
        return -1;
    while (count < size && count < (int)sizeof bytes) {
        part = recv(connection, bytes + count, (int)sizeof bytes - count, 0);
        if (part <= 0)
            return -1;
        count += part;
        if (count >= 4)
            memcpy(&size, bytes, 4);
    }
    read_answer(bytes, count, answer);
    return answer->ok ? 0 : -1;
}

int mongo_command_once(int port, const struct text *elements)
{
    struct mongo_answer answer;
    SOCKET connection = mongo_connect(port);
    int failed = connection == INVALID_SOCKET || mongo_command(connection, elements, &answer);
    if (connection != INVALID_SOCKET)
        closesocket(connection);
    return failed ? -1 : 0;
}
