/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

#include "behaviour.h"
#include "database_tool.h"
#include "job.h"
#include "mongo_controller.h"
#include "mongod.h"
#include "settings.h"
#include "text.h"

static const wchar_t *const databases[] = {L"AlteryxService", L"AlteryxGallery", L"AlteryxGallery_Lucene"};

/* The tools read the password from a file, because every user who lists processes sees the arguments. */
static void write_password_file(wchar_t *path)
{
    wchar_t folder[MAX_PATH];
    struct text yaml = {0};
    DWORD count;
    HANDLE file;
    GetTempPathW(MAX_PATH, folder);
    _snwprintf(path, MAX_PATH, L"%ls\\AlteryxService_%lu.yaml", folder, GetCurrentProcessId());
    text_addf(&yaml, "password: \"%s\"\n", setting_secret("Controller", "EmbeddedMongoDBPasswordEncrypted"));
    file = CreateFileW(path, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    WriteFile(file, yaml.data, (DWORD)yaml.size, &count, NULL);
    CloseHandle(file);
}

/* On Windows every console program has a console host as its first child, which ends with it. Here only on demand: a
 * child that no script can end (see process_faults.h). Not in the job: the job would end it too early. */
static void start_console_host(void)
{
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION process;
    wchar_t line[64];
    if (!behaves("kill", "dying_child"))
        return;
    _snwprintf(line, 64, L"C:\\AlteryxLab\\bin\\conhost.exe %lu", GetCurrentProcessId());
    if (CreateProcessW(NULL, line, NULL, NULL, FALSE, CREATE_NO_WINDOW, NULL, NULL, &startup, &process)) {
        CloseHandle(process.hThread);
        CloseHandle(process.hProcess);
    }
}

static int dump_database(HANDLE job, const struct mongod *mongod, const wchar_t *database, const wchar_t *folder)
{
    wchar_t line[4096], password[MAX_PATH], log_path[MAX_PATH];
    HANDLE log = NULL;
    int code;
    if (behaves("emongodump", "log_only")) {
        _snwprintf(log_path, MAX_PATH, L"%ls\\emongodump.log", folder);
        log = CreateFileW(log_path, FILE_APPEND_DATA, FILE_SHARE_READ, NULL, OPEN_ALWAYS, 0, NULL);
    }
    write_password_file(password);
    _snwprintf(line, 4096,
        L"\"%ls\\mongodump.exe\" --host 127.0.0.1 --port %d --username \"%ls\" --authenticationDatabase AlteryxService "
        L"--config \"%ls\" --db %ls --out \"%ls\"",
        install_folder(), mongod->port, wide(setting("Controller", "EmbeddedMongoDBUserName")), password, database,
        folder);
    code = run_tool(job, line, log, log || behaves("emongodump", "silent") || behaves("emongodump", "exit2_half"));
    if (log)
        CloseHandle(log);
    DeleteFileW(password);
    return code;
}

static void make_empty(const wchar_t *folder)
{
    wchar_t path[MAX_PATH];
    _snwprintf(path, MAX_PATH, L"%ls\\AlteryxGallery\\users.bson", folder);
    CloseHandle(CreateFileW(path, GENERIC_WRITE, 0, NULL, TRUNCATE_EXISTING, 0, NULL));
}

int emongodump(const wchar_t *folder)
{
    struct mongod mongod = {0};
    /* Beside a child that dies slowly nothing ends with this process: who ends the dump has to end every member. */
    HANDLE job = behaves("kill", "dying_child") ? CreateJobObjectW(NULL, NULL) : job_create(0);
    size_t i;
    int failed = 0;
    const int controlled = behaves("emongodump", "spawn_via_controller");
    if (!service_is_stopped()) {
        puts("EMongoDump failed: the service is running");
        return 0;
    }
    if (behaves("emongodump", "exit1"))
        return 1;
    start_console_host();
    if (controlled ? controller_start(&mongod)
                   : mongod_start(&mongod, job, wide(setting("Controller", "EmbeddedMongoDBRootPath")), 1)) {
        puts("EMongoDump failed: the embedded MongoDB did not start");
        return 0;
    }
    while (behaves("emongodump", "hang"))
        Sleep(500);
    behaviour_delay("emongodump_delay_ms");
    for (i = 0; i < sizeof databases / sizeof *databases && !failed; i++) {
        if (i == 1 && (behaves("emongodump", "fail") || behaves("emongodump", "leak")))
            failed = 1;
        else if (i != 1 || !(behaves("emongodump", "half") || behaves("emongodump", "exit2_half")))
            failed = dump_database(job, &mongod, databases[i], folder);
    }
    if (behaves("emongodump", "empty"))
        make_empty(folder);
    if (controlled)
        controller_stop();
    mongod_stop(&mongod);
    if (failed && behaves("emongodump", "leak"))
        printf("Failed: can't create session: mongodb://user:%s@127.0.0.1:%d/\n",
            setting_secret("Controller", "EmbeddedMongoDBPasswordEncrypted"), mongod.port);
    if (failed)
        puts("EMongoDump failed");
    return behaves("emongodump", "exit2_success") || behaves("emongodump", "exit2_half") ? 2 : 0;
}
