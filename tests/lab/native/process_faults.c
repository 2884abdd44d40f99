/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "process_faults.h"

#include <wchar.h>
#include <windows.h>

#include "behaviour.h"
#include "export_hook.h"

typedef BOOL(WINAPI *terminate_process)(HANDLE, UINT);
static terminate_process wine_terminate;

static int is_console_host(HANDLE process)
{
    wchar_t path[1024];
    DWORD length = 1024;
    wchar_t *name = QueryFullProcessImageNameW(process, 0, path, &length) ? wcsrchr(path, L'\\') : NULL;
    return name && !_wcsicmp(name + 1, L"conhost.exe");
}

/* On Windows a console host dies with the last process on its console, and a process that is dying cannot be terminated
 * any more. */
static BOOL WINAPI terminate_or_refuse(HANDLE process, UINT code)
{
    if (process != GetCurrentProcess() && is_console_host(process) && behaves("kill", "dying_child")) {
        SetLastError(ERROR_ACCESS_DENIED);
        return FALSE;
    }
    return wine_terminate(process, code);
}

void hook_processes(void)
{
    wine_terminate = (terminate_process)hook_export(L"kernel32.dll", "TerminateProcess", terminate_or_refuse);
}
