/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* labhost.exe [--not-administrator] -- <command line>
 * One argument is the command line as it stands; of several it is what stands behind the mark.
 * Runs a command and returns its exit code. Whatever it starts ends with this process, however this process ends, as a
 * WinRM shell's or a task's processes end with it. --not-administrator: the command's token has the Administrators
 * group for denial only. */
#include <stdio.h>
#include <string.h>
#include <windows.h>

#include "job.h"

/* The caller quotes the arguments, as for CreateProcess. A caller on the host can pass only whole arguments, therefore
 * one argument may hold a whole command line with its quotes. */
static wchar_t *command_line(int argc, wchar_t **argv)
{
    wchar_t *mark = wcsstr(GetCommandLineW(), L" -- ");
    int at;
    for (at = 1; at < argc && wcscmp(argv[at], L"--"); at++)
        ;
    if (at == argc - 2)
        return argv[at + 1];
    return mark ? mark + 4 : NULL;
}

/* A fault of the lab is counted: tests read this file (tests/lab_faults.py). */
static void note_fault(const wchar_t *line)
{
    FILE *faults = fopen("C:\\AlteryxLab\\lab-faults.txt", "a");
    if (!faults)
        return;
    fprintf(faults, "Wine could not create a process (error %lu) and was asked again: %.120ls\n",
        (unsigned long)ERROR_INTERNAL_ERROR, line);
    fclose(faults);
}

static HANDLE restricted_token(void)
{
    BYTE administrators[SECURITY_MAX_SID_SIZE];
    DWORD size = sizeof administrators;
    SID_AND_ATTRIBUTES disable = {administrators, 0};
    HANDLE token, restricted;
    if (!CreateWellKnownSid(WinBuiltinAdministratorsSid, NULL, administrators, &size) ||
        !OpenProcessToken(GetCurrentProcess(), TOKEN_ALL_ACCESS, &token) ||
        !CreateRestrictedToken(token, 0, 1, &disable, 0, NULL, 0, NULL, &restricted))
        return NULL;
    return restricted;
}

int wmain(int argc, wchar_t **argv)
{
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION process;
    HANDLE job = job_create(1), token = NULL;
    wchar_t *line = command_line(argc, argv);
    DWORD code = 1;
    int attempt;
    BOOL started;
    if (!line || !job) {
        fputs("labhost.exe [--not-administrator] -- <command line>\n", stderr);
        return 87;
    }
    GetStartupInfoW(&startup); /* standard handles pass on as they are */
    startup.lpReserved2 = NULL;
    startup.cbReserved2 = 0;
    if (argc > 1 && !wcscmp(argv[1], L"--not-administrator") && !(token = restricted_token())) {
        fprintf(stderr, "labhost: no restricted token: error %lu\n", GetLastError());
        return 1;
    }
    /* On a busy machine Wine now and then cannot start a process (ERROR_INTERNAL_ERROR), and can a moment later. */
    for (attempt = 1;; attempt++) {
        started = token
            ? CreateProcessAsUserW(
                  token, NULL, line, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &startup, &process)
            : CreateProcessW(NULL, line, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &startup, &process);
        if (started || GetLastError() != ERROR_INTERNAL_ERROR || attempt == 5)
            break;
        note_fault(line);
        Sleep(500);
    }
    if (!started) {
        fprintf(stderr, "labhost: cannot start %ls: error %lu\n", line, GetLastError());
        return (int)GetLastError();
    }
    if (!AssignProcessToJobObject(job, process.hProcess)) {
        fprintf(stderr, "labhost: no job: error %lu\n", GetLastError());
        TerminateProcess(process.hProcess, 1);
        return 1;
    }
    ResumeThread(process.hThread);
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    return (int)code;
}
