/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include <stdio.h>
#include <stdlib.h>

#include "mongo_controller.h"
#include "settings.h"

static HANDLE ready_or_ended[2], end;

int controller_start(struct mongod *mongod)
{
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION process;
    wchar_t line[MAX_PATH + 64];
    ready_or_ended[0] = CreateEventW(NULL, TRUE, FALSE, CONTROLLER_READY);
    ready_or_ended[1] = CreateEventW(NULL, TRUE, FALSE, CONTROLLER_ENDED);
    end = CreateEventW(NULL, TRUE, FALSE, CONTROLLER_END);
    mongod->port = atoi(setting("Controller", "EmbeddedMongoDBPort"));
    _snwprintf(line, MAX_PATH + 64, L"\"%ls\\AlteryxService_MongoController.exe\" detach", install_folder());
    if (!CreateProcessW(NULL, line, NULL, NULL, FALSE, CREATE_NO_WINDOW, NULL, NULL, &startup, &process))
        return -1;
    return WaitForMultipleObjects(2, ready_or_ended, FALSE, 120000) == WAIT_OBJECT_0 ? 0 : -1;
}

void controller_stop(void)
{
    SetEvent(end);
    WaitForSingleObject(ready_or_ended[1], 90000);
}
