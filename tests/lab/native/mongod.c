/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <winsock2.h>

#include "mongod.h"

#include <stdio.h>
#include <stdlib.h>

#include "job.h"
#include "settings.h"
#include "text.h"

static int port_answers(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((u_short)port)};
    SOCKET connection = socket(AF_INET, SOCK_STREAM, 0);
    int answers;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    answers = connect(connection, (struct sockaddr *)&address, sizeof address) == 0;
    closesocket(connection);
    return answers;
}

int mongod_start(struct mongod *mongod, HANDLE job, const wchar_t *data_folder, int with_authentication)
{
    wchar_t line[4096];
    WSADATA winsock;
    const char *log = setting("Controller", "EmbeddedMongoDBLogPath");
    ULONGLONG limit = GetTickCount64() + 120000;
    WSAStartup(MAKEWORD(2, 2), &winsock);
    mongod->port = atoi(setting("Controller", "EmbeddedMongoDBPort"));
    _snwprintf(line, 4096,
               L"\"%ls\\mongod.exe\" %ls --bind_ip 127.0.0.1 --port %d --dbpath \"%ls\" --logpath \"%ls\" --logappend"
               L" --setParameter diagnosticDataCollectionEnabled=false --wiredTigerCacheSizeGB 0.25 %ls",
               install_folder(), with_authentication ? L"--auth" : L"--noauth", mongod->port, data_folder,
               *log ? wide(log) : L"C:\\ProgramData\\Alteryx\\Service\\mongoDBLog.log",
               wide(setting("Controller", "EmbeddedMongoDBArguments")));
    mongod->process = job_start(job, line, NULL, NULL, NULL, &mongod->pid);
    if (!mongod->process)
        return -1;
    /* Only our own mongod may answer: a port taken by another makes this process end, which is looked at first. */
    while (WaitForSingleObject(mongod->process, 50) == WAIT_TIMEOUT && GetTickCount64() < limit)
        if (port_answers(mongod->port))
            return WaitForSingleObject(mongod->process, 0) == WAIT_TIMEOUT ? 0 : -1;
    TerminateProcess(mongod->process, 1);
    CloseHandle(mongod->process);
    mongod->process = NULL;
    return -1;
}

void mongod_stop(struct mongod *mongod)
{
    wchar_t name[64];
    HANDLE event;
    if (!mongod->process)
        return;
    /* mongod.exe listens to this event: the clean shutdown of the MongoDB service on Windows. */
    _snwprintf(name, 64, L"Global\\Mongo_%lu", mongod->pid);
    event = OpenEventW(EVENT_MODIFY_STATE, FALSE, name);
    if (!event || !SetEvent(event) || WaitForSingleObject(mongod->process, 60000) != WAIT_OBJECT_0)
        TerminateProcess(mongod->process, 1);
    WaitForSingleObject(mongod->process, 10000);
    if (event)
        CloseHandle(event);
    CloseHandle(mongod->process);
    mongod->process = NULL;
}
