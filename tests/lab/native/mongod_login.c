/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "mongo_message.h"

#include "mongod_login.h"

#include <bcrypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settings.h"

enum { DIGEST = 32, TEXT = 2048 };

static const char NONCE[] = "LabDoubleOfTheService";

/* SHA-256 of some bytes, or their HMAC with a key of the size of a digest. */
static int digest(const unsigned char *key, const char *bytes, size_t count, unsigned char *result)
{
    BCRYPT_ALG_HANDLE algorithm;
    BCRYPT_HASH_HANDLE hash;
    int failed;
    if (BCryptOpenAlgorithmProvider(
            &algorithm, BCRYPT_SHA256_ALGORITHM, NULL, key ? BCRYPT_ALG_HANDLE_HMAC_FLAG : 0))
        return -1;
    failed = BCryptCreateHash(algorithm, &hash, NULL, 0, (unsigned char *)key, key ? DIGEST : 0, 0) ||
             BCryptHashData(hash, (unsigned char *)bytes, (ULONG)count, 0) ||
             BCryptFinishHash(hash, result, DIGEST, 0);
    BCryptDestroyHash(hash);
    BCryptCloseAlgorithmProvider(algorithm, 0);
    return failed ? -1 : 0;
}

static int salted(const char *password, const unsigned char *salt, size_t count, int rounds, unsigned char *result)
{
    BCRYPT_ALG_HANDLE algorithm;
    int failed;
    if (BCryptOpenAlgorithmProvider(&algorithm, BCRYPT_SHA256_ALGORITHM, NULL, BCRYPT_ALG_HANDLE_HMAC_FLAG))
        return -1;
    failed = BCryptDeriveKeyPBKDF2(algorithm, (unsigned char *)password, (ULONG)strlen(password),
        (unsigned char *)salt, (ULONG)count, (ULONGLONG)rounds, result, DIGEST, 0);
    BCryptCloseAlgorithmProvider(algorithm, 0);
    return failed ? -1 : 0;
}

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static size_t from_base64(const char *text, size_t length, unsigned char *bytes)
{
    unsigned value = 0;
    size_t i, count = 0;
    for (i = 0; i < length && text[i] != '='; i++) {
        value = value << 6 | (unsigned)(strchr(ALPHABET, text[i]) - ALPHABET);
        if (i % 4)
            bytes[count++] = (unsigned char)(value >> (6 - 2 * (i % 4)));
    }
    return count;
}

/* Of a digest: 43 characters and one of padding. */
static void to_base64(const unsigned char *bytes, char *text)
{
    int i;
    for (i = 0; i < DIGEST; i += 3) {
        unsigned value = (unsigned)bytes[i] << 16 | (unsigned)bytes[i + 1] << 8 | (i + 2 < DIGEST ? bytes[i + 2] : 0);
        *text++ = ALPHABET[value >> 18 & 63];
        *text++ = ALPHABET[value >> 12 & 63];
        *text++ = ALPHABET[value >> 6 & 63];
        *text++ = i + 2 < DIGEST ? ALPHABET[value & 63] : '=';
    }
    *text = 0;
}

/* What proves that we know the password, to what the server has said first: r=<nonce>,s=<salt>,i=<rounds>. */
static int prove(const char *first, const char *server, const char *password, char *result)
{
    const char *salt = strstr(server, ",s="), *rounds = strstr(server, ",i=");
    unsigned char salt_bytes[256], key[DIGEST], stored[DIGEST], signature[DIGEST], client[DIGEST];
    char whole[TEXT], last[TEXT], proof[48];
    int i;
    if (!salt || !rounds || strncmp(server, "r=", 2) || rounds - salt > 300)
        return -1;
    snprintf(last, TEXT, "c=biws,%.*s", (int)(salt - server), server);
    snprintf(whole, TEXT, "%s,%s,%s", first, server, last);
    if (salted(password, salt_bytes, from_base64(salt + 3, (size_t)(rounds - salt - 3), salt_bytes),
            atoi(rounds + 3), key) ||
        digest(key, "Client Key", 10, client) || digest(NULL, (char *)client, DIGEST, stored) ||
        digest(stored, whole, strlen(whole), signature))
        return -1;
    for (i = 0; i < DIGEST; i++)
        signature[i] ^= client[i];
    to_base64(signature, proof);
    snprintf(result, 2 * TEXT, "%s,p=%s", last, proof);
    return 0;
}

static int log_in(SOCKET connection, const char *user, const char *password)
{
    struct text start = {0}, options = {0}, more = {0};
    struct mongo_answer answer;
    char first[TEXT], payload[2 * TEXT];
    snprintf(first, TEXT, "n=%s,r=%s", user, NONCE);
    snprintf(payload, sizeof payload, "n,,%s", first);
    bson_int32(&start, "saslStart", 1);
    bson_string(&start, "mechanism", "SCRAM-SHA-256");
    bson_binary(&start, "payload", payload, strlen(payload));
    options.data = "\010skipEmptyExchange\0\1"; /* a boolean: the answer to our proof is the last one */
    options.size = 20;
    bson_inner(&start, BSON_DOCUMENT, "options", &options);
    bson_string(&start, "$db", "AlteryxService");
    if (mongo_command(connection, &start, &answer) || prove(first, answer.payload, password, payload))
        return -1;
    bson_int32(&more, "saslContinue", 1);
    bson_int32(&more, "conversationId", answer.conversation);
    bson_binary(&more, "payload", payload, strlen(payload));
    bson_string(&more, "$db", "AlteryxService");
    return mongo_command(connection, &more, &answer);
}

int mongod_log_in(const struct mongod *mongod)
{
    SOCKET connection = mongo_connect(mongod->port);
    int failed = connection == INVALID_SOCKET ||
                 log_in(connection, setting("Controller", "EmbeddedMongoDBUserName"),
                     setting_secret("Controller", "EmbeddedMongoDBPasswordEncrypted"));
    if (connection != INVALID_SOCKET)
        closesocket(connection);
    return failed ? -1 : 0;
}
