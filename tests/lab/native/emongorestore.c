/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "verbs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

#include "behaviour.h"
#include "database_tool.h"
#include "job.h"
#include "mongod.h"
#include "mongod_loss.h"
#include "settings.h"

/* The first one that is restored, for what happens in the middle. */
#define FIRST L"AlteryxService.*"

struct restore {
    const wchar_t *source, *target;
    int batch;
    struct mongod mongod;
    HANDLE job, log; /* log: NULL for none */
    int quiet;
};

static int is_told(const char *value)
{
    return behaves("emongorestore", value);
}

static int refuse(const char *why)
{
    printf("EMongoRestore failed: %s\n", why);
    return 0;
}

static void say(const struct restore *restore, const char *format, ...)
{
    char line[1024];
    DWORD count;
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    if (!restore->quiet)
        puts(line);
    if (restore->log) {
        WriteFile(restore->log, line, (DWORD)strlen(line), &count, NULL);
        WriteFile(restore->log, "\r\n", 2, &count, NULL);
    }
}

/* A comma ends a path: what comes behind a third one belongs to nothing. */
static int parse(wchar_t *value, struct restore *restore)
{
    wchar_t *target = wcschr(value, L','), *batch, *end;
    if (!target)
        return -1;
    *target++ = 0;
    if ((batch = wcschr(target, L','))) {
        *batch++ = 0;
        restore->batch = (int)wcstol(batch, &end, 10);
        if (*end || restore->batch < 1)
            return -1;
    }
    restore->source = value;
    restore->target = target;
    return *value && *target ? 0 : -1;
}

/* Whether anything in the folder fits the pattern, beside itself and its parent. */
static int holds(const wchar_t *folder, const wchar_t *pattern)
{
    wchar_t path[MAX_PATH];
    WIN32_FIND_DATAW entry;
    HANDLE search;
    int found = 0;
    _snwprintf(path, MAX_PATH, L"%ls\\%ls", folder, pattern);
    search = FindFirstFileW(path, &entry);
    if (search == INVALID_HANDLE_VALUE)
        return 0;
    do
        found = wcscmp(entry.cFileName, L".") && wcscmp(entry.cFileName, L"..");
    while (!found && FindNextFileW(search, &entry));
    FindClose(search);
    return found;
}

static int is_folder(const wchar_t *path)
{
    DWORD attributes = GetFileAttributesW(path);
    return attributes != INVALID_FILE_ATTRIBUTES && attributes & FILE_ATTRIBUTE_DIRECTORY;
}

static int is_dump(const wchar_t *folder)
{
    wchar_t path[MAX_PATH];
    WIN32_FIND_DATAW entry;
    HANDLE search;
    int found = 0;
    _snwprintf(path, MAX_PATH, L"%ls\\*", folder);
    search = FindFirstFileW(path, &entry);
    if (search == INVALID_HANDLE_VALUE)
        return 0;
    do {
        _snwprintf(path, MAX_PATH, L"%ls\\%ls", folder, entry.cFileName);
        found = wcscmp(entry.cFileName, L".") && wcscmp(entry.cFileName, L"..") && holds(path, L"*.bson");
    } while (!found && FindNextFileW(search, &entry));
    FindClose(search);
    return found;
}

static int run_mongorestore(struct restore *restore, const wchar_t *namespaces)
{
    wchar_t line[4096], batch[32] = L"";
    if (restore->batch)
        _snwprintf(batch, 32, L"--batchSize=%d", restore->batch);
    _snwprintf(line, 4096,
        L"\"%ls\\mongorestore.exe\" --host 127.0.0.1 --port %d --nsExclude admin.* %ls %ls --dir \"%ls\"",
        install_folder(), restore->mongod.port, namespaces, batch, restore->source);
    return run_tool(restore->job, line, restore->log, restore->quiet);
}

/* If the lab has ordered a failure in the middle, the tool is called twice instead of once. Returns 0, or another
 * number after a failure. */
static int restore_data(struct restore *restore)
{
    const int fails = is_told("fail") || is_told("leak");
    int failed;
    if (!fails && !is_told("hang_half") && !is_told("die_half"))
        return run_mongorestore(restore, L"");
    failed = run_mongorestore(restore, L"--nsInclude " FIRST);
    if (is_told("die_half"))
        ExitProcess(3);
    while (is_told("hang_half"))
        Sleep(500);
    if (is_told("leak"))
        say(restore, "Failed: can't create session: mongodb://user:%s@127.0.0.1:%d/",
            setting_secret("Controller", "EmbeddedMongoDBPasswordEncrypted"), restore->mongod.port);
    return fails || failed || run_mongorestore(restore, L"--nsExclude " FIRST);
}

static HANDLE open_log(const wchar_t *source)
{
    wchar_t path[MAX_PATH];
    HANDLE log;
    _snwprintf(path, MAX_PATH, L"%ls\\..\\mongoRestore.log", source);
    log = CreateFileW(path, GENERIC_WRITE, FILE_SHARE_READ, NULL, CREATE_ALWAYS, 0, NULL);
    return log == INVALID_HANDLE_VALUE ? NULL : log;
}

static int run(struct restore *restore)
{
    const int leaves = is_told("leave_mongod");
    int failed;
    restore->job = job_create(0);
    restore->quiet = is_told("silent") || is_told("log_only");
    if (mongod_start(&restore->mongod, leaves || is_told("die_half") ? NULL : restore->job, restore->target, 0))
        return refuse("the embedded MongoDB did not start");
    restore->log = is_told("silent") ? NULL : open_log(restore->source);
    while (is_told("hang"))
        Sleep(500);
    behaviour_delay("emongorestore_delay_ms");
    failed = restore_data(restore);
    /* The tool has counted what is lost here. */
    if (is_told("partial"))
        failed |= mongod_drop_database(&restore->mongod, "AlteryxGallery");
    if (is_told("fewer"))
        failed |= mongod_lose_documents(&restore->mongod, "AlteryxService", "AS_Queue", "Status", "Error");
    /* The dump holds no users: without them the service could not log in again. */
    failed |= mongod_create_users(&restore->mongod);
    if (!leaves)
        mongod_stop(&restore->mongod);
    if (is_told("words_fail"))
        say(restore, "Failed: AlteryxGallery.users: error creating indexes for AlteryxGallery.users: connection lost");
    if (restore->log)
        CloseHandle(restore->log);
    if (failed)
        refuse("the database was not restored");
    return is_told("exit2") ? 2 : 0;
}

int emongorestore(const wchar_t *value)
{
    struct restore restore = {0};
    wchar_t elsewhere[MAX_PATH];
    if (parse(_wcsdup(value), &restore))
        return refuse("expected <source>,<target>[,<batch size>]");
    if (!service_is_stopped())
        return refuse("the service is running");
    if (is_told("exit1"))
        return 1;
    if (!setting_true("Controller", "EmbeddedMongoDBEnabled") ||
        !*setting_secret("Controller", "EmbeddedMongoDBPasswordEncrypted"))
        return refuse("the settings name no embedded MongoDB and its password");
    if (!is_dump(restore.source))
        return refuse("the source must be a folder of mongodump");
    if (!is_folder(restore.target) || holds(restore.target, L"*"))
        return refuse("the target must be an empty folder");
    if (is_told("wrong_target")) {
        _snwprintf(elsewhere, MAX_PATH, L"%ls\\..\\elsewhere_%lu", restore.target, GetCurrentProcessId());
        CreateDirectoryW(elsewhere, NULL);
        restore.target = elsewhere;
    }
    return run(&restore);
}
