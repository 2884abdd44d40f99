/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* powershell.exe of a node: the SDK's apphost with some things before it. From
 * ../pwsh/native/launcher.c; what is added are the faults that behaviour.ini can order of Windows
 * itself, in this process only: see get_cim_instance.ps1, service_faults.h, process_faults.h, directory_links.h and
 * event_log.h.
 * Beside the runtime (as pwsh.exe) it takes that one; elsewhere it finds the runtime by the variable LABPWSH_HOME or by
 * the value Home of HKLM\Software\LabPwsh. */
#include <stdio.h>
#include <wchar.h>
#include <windows.h>

#include "directory_links.h"
#include "event_log.h"
#include "process_faults.h"
#include "service_faults.h"
#include "wine_mends.h"

enum { PATH = 4096, ROOM = 64 }; /* room: for a name behind a folder */

typedef int (*runtime_main)(int, const wchar_t **, const wchar_t *, const wchar_t *, const wchar_t *);

static int exists(const wchar_t *folder, const wchar_t *name)
{
    wchar_t path[PATH];
    _snwprintf(path, PATH, L"%ls\\%ls", folder, name);
    return GetFileAttributesW(path) != INVALID_FILE_ATTRIBUTES;
}

/* The runtime's folder: ours, or the one that is named. */
static int find_runtime(wchar_t *folder)
{
    DWORD size = (PATH - ROOM) * sizeof *folder, length = GetModuleFileNameW(NULL, folder, PATH - ROOM);
    wchar_t *name = wcsrchr(folder, L'\\');
    if (length && length < PATH - ROOM && name) {
        *name = 0;
        if (exists(folder, L"pwsh.dll"))
            return 1;
    }
    length = GetEnvironmentVariableW(L"LABPWSH_HOME", folder, PATH - ROOM);
    if ((!length || length >= PATH - ROOM) &&
        RegGetValueW(HKEY_LOCAL_MACHINE, L"Software\\LabPwsh", L"Home", RRF_RT_REG_SZ, NULL, folder, &size))
        return 0;
    for (length = (DWORD)wcslen(folder); length && folder[length - 1] == L'\\';)
        folder[--length] = 0;
    return 1;
}

static void set_default(const wchar_t *name, const wchar_t *value)
{
    if (!GetEnvironmentVariableW(name, NULL, 0))
        SetEnvironmentVariableW(name, value);
}

static void prepare_environment(void)
{
    /* Under Wine 8 the runtime dies in a finalizer ("Internal CLR error 0x80131506", DynamicResolver) unless its W^X
     * mapping is off, and that is read from the environment only. */
    set_default(L"DOTNET_EnableWriteXorExecute", L"0");
    set_default(L"DOTNET_TieredPGO", L"0");
    /* Fewer collections, so fewer thread suspensions, the likeliest cause of a start in some hundreds that hangs. */
    set_default(L"DOTNET_GCgen0size", L"0x4000000");
    /* Runs before the engine and takes the variable away again. */
    SetEnvironmentVariableW(L"DOTNET_STARTUP_HOOKS", L"C:\\AlteryxLab\\bin\\EngineHook.dll");
}

int wmain(int argc, wchar_t **argv)
{
    static wchar_t folder[PATH], program[PATH], library[PATH], application[PATH];
    HMODULE host;
    runtime_main start;
    if (!find_runtime(folder)) {
        fputs("pwsh: no runtime beside me, no LABPWSH_HOME, no HKLM\\Software\\LabPwsh\\Home\n", stderr);
        return 135;
    }
    _snwprintf(program, PATH, L"%ls\\pwsh.exe", folder);
    _snwprintf(library, PATH, L"%ls\\hostfxr.dll", folder);
    _snwprintf(application, PATH, L"%ls\\pwsh.dll", folder);
    prepare_environment();
    mend_wine();
    hook_services();
    hook_processes();
    hook_directories();
    hook_event_log();
    host = LoadLibraryW(library);
    start = host ? (runtime_main)(void *)GetProcAddress(host, "hostfxr_main_startupinfo") : NULL;
    if (!start) {
        fprintf(stderr, "pwsh: cannot load %ls (%lu)\n", library, GetLastError());
        return 134;
    }
    return start(argc, (const wchar_t **)argv, program, folder, application);
}
