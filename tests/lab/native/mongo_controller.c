/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "mongo_controller.h"

#include <stdio.h>
#include <wchar.h>

#include "job.h"
#include "settings.h"
#include "text.h"

/* Start this program again and end, so that the parent of the controller is not a running process. */
static int detach(wchar_t *program)
{
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION process;
    wchar_t line[MAX_PATH + 8];
    _snwprintf(line, MAX_PATH + 8, L"\"%ls\" serve", program);
    return !CreateProcessW(NULL, line, NULL, NULL, FALSE, CREATE_NO_WINDOW, NULL, NULL, &startup, &process);
}

int wmain(int argc, wchar_t **argv)
{
    wchar_t program[MAX_PATH];
    struct mongod mongod = {0};
    HANDLE end;
    GetModuleFileNameW(NULL, program, MAX_PATH);
    if (argc == 2 && !wcscmp(argv[1], L"detach"))
        return detach(program);
    end = OpenEventW(SYNCHRONIZE, FALSE, CONTROLLER_END);
    if (!end)
        return 1;
    if (!mongod_start(&mongod, job_create(0), wide(setting("Controller", "EmbeddedMongoDBRootPath")), 1)) {
        SetEvent(OpenEventW(EVENT_MODIFY_STATE, FALSE, CONTROLLER_READY));
        WaitForSingleObject(end, INFINITE);
        mongod_stop(&mongod);
    }
    SetEvent(OpenEventW(EVENT_MODIFY_STATE, FALSE, CONTROLLER_ENDED));
    return 0;
}
