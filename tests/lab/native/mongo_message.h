/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Commands to a mongod of this node without a MongoDB shell: MongoDB's wire protocol, OP_MSG with one BSON document. */
#ifndef LAB_MONGO_MESSAGE_H
#define LAB_MONGO_MESSAGE_H
#include <winsock2.h>

#include "text.h"

enum { BSON_DOCUMENT = 3, BSON_ARRAY = 4 };

/* Elements of a document that is being built. */
void bson_int32(struct text *document, const char *name, int value);
void bson_string(struct text *document, const char *name, const char *value);
void bson_binary(struct text *document, const char *name, const char *bytes, size_t count);
/* elements become a document (or array) inside the outer one */
void bson_inner(struct text *document, char type, const char *name, const struct text *elements);

/* What the node looks for in an answer. */
struct mongo_answer {
    int ok;
    int conversation;
    char payload[1024];
};

/* A connection to a mongod on loopback, or INVALID_SOCKET. */
SOCKET mongo_connect(int port);
/* Send a command and read its answer. 0, or -1 when there is none or it is not ok. */
int mongo_command(SOCKET connection, const struct text *elements, struct mongo_answer *answer);
/* The same on a connection of its own. */
int mongo_command_once(int port, const struct text *elements);
#endif
