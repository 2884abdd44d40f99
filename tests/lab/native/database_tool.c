/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "database_tool.h"

#include <stdio.h>

#include "behaviour.h"
#include "job.h"

int service_is_stopped(void)
{
    SERVICE_STATUS status = {.dwCurrentState = SERVICE_STOPPED};
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_CONNECT);
    SC_HANDLE service = OpenServiceW(manager, L"AlteryxService", SERVICE_QUERY_STATUS);
    QueryServiceStatus(service, &status);
    CloseServiceHandle(service);
    CloseServiceHandle(manager);
    return status.dwCurrentState == SERVICE_STOPPED;
}

/* Text of a tool as a program passes it on that takes it for text: in the code page of the system. */
static DWORD to_code_page(char *block, DWORD count, DWORD room)
{
    wchar_t text[4096];
    int length = MultiByteToWideChar(CP_UTF8, 0, block, (int)count, text, 4096);
    return (DWORD)WideCharToMultiByte(850, 0, text, length, block, (int)room, NULL, NULL);
}

int run_tool(HANDLE job, const wchar_t *command_line, HANDLE log, int quiet)
{
    HANDLE reader, writer, process;
    char block[4096];
    DWORD count, code = 1;
    CreatePipe(&reader, &writer, NULL, 0);
    process = job_start(job, command_line, NULL, writer, writer, NULL);
    CloseHandle(writer);
    while (process && ReadFile(reader, block, sizeof block, &count, NULL) && count) {
        if (behaves("emongodump", "cp850"))
            count = to_code_page(block, count, sizeof block);
        if (!quiet) {
            fwrite(block, 1, count, stdout);
            fflush(stdout);
        }
        if (log)
            WriteFile(log, block, count, &count, NULL);
    }
    CloseHandle(reader);
    if (!process)
        return -1;
    WaitForSingleObject(process, INFINITE);
    GetExitCodeProcess(process, &code);
    CloseHandle(process);
    return (int)code;
}
