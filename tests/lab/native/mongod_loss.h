/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* What a restore can lose although its tool has counted it. On a mongod that runs without authentication. */
#ifndef LAB_MONGOD_LOSS_H
#define LAB_MONGOD_LOSS_H
#include "mongod.h"

/* 0 or -1. */
int mongod_drop_database(const struct mongod *mongod, const char *database);
/* Every document of a collection whose field has this text. 0 or -1. */
int mongod_lose_documents(
    const struct mongod *mongod, const char *database, const char *collection, const char *field, const char *value);
#endif
