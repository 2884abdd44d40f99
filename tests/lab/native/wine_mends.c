/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "wine_mends.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

#include "export_hook.h"

/* Wine's own __TRY frames hang on the thread's ExceptionList (real x64 Windows keeps nothing there). .NET leaves an
 * exception by RtlRestoreContext, which does not take those frames off; the next exception that the runtime or its JIT
 * raises then finds a frame in dead stack and calls through it: an endless loop of access violations. So before the
 * runtime's own exceptions are dispatched, the list is cut back to the thread's outermost frame. */
static DWORD outermost;

/* NtCurrentTeb(); the compiler takes the header's form of it for an access out of bounds. */
static NT_TIB *this_thread(void)
{
    NT_TIB *thread;
    __asm__("movq %%gs:0x30, %0" : "=r"(thread));
    return thread;
}

static int inside(void *frame, NT_TIB *thread)
{
    return !((ULONG_PTR)frame & 7) && (char *)frame >= (char *)thread->StackLimit &&
           (char *)frame <= (char *)thread->StackBase - 2 * sizeof(void *);
}

static LONG CALLBACK cut_frames(EXCEPTION_POINTERS *exception)
{
    DWORD code = exception->ExceptionRecord->ExceptionCode;
    NT_TIB *thread = this_thread();
    void *base, *frame = thread->ExceptionList;
    if (code != 0xE0434352 && code != 0x02345678)
        return EXCEPTION_CONTINUE_SEARCH;
    if (!(base = TlsGetValue(outermost))) {
        while (inside(frame, thread) && inside(*(void **)frame, thread) && *(char **)frame > (char *)frame)
            frame = *(void **)frame;
        base = inside(frame, thread) ? frame : (void *)~(ULONG_PTR)0;
        TlsSetValue(outermost, base);
    }
    thread->ExceptionList = base;
    return EXCEPTION_CONTINUE_SEARCH;
}

/* Wine's service manager knows few levels of QueryServiceConfig2 and fails the others, where Windows answers "nothing
 * set" (failure actions, delayed start, SID, privileges, triggers, protection). What Wine answers is left to it. */
typedef BOOL(WINAPI *query_config)(SC_HANDLE, DWORD, BYTE *, DWORD, DWORD *);
static query_config wine_query_config;

static BOOL WINAPI query_config_or_nothing(SC_HANDLE service, DWORD level, BYTE *buffer, DWORD size, DWORD *needed)
{
    static const DWORD sizes[] = {0, 0, sizeof(SERVICE_FAILURE_ACTIONSW), 4, 4, 4, 8, 0, 24, 4, 0, 0, 4};
    DWORD error;
    if (wine_query_config(service, level, buffer, size, needed))
        return TRUE;
    error = GetLastError();
    if (error != ERROR_INVALID_LEVEL || level >= sizeof sizes / sizeof *sizes || !sizes[level]) {
        SetLastError(error);
        return FALSE;
    }
    if (needed)
        *needed = sizes[level];
    if (!buffer || size < sizes[level]) {
        SetLastError(ERROR_INSUFFICIENT_BUFFER);
        return FALSE;
    }
    memset(buffer, 0, size);
    return TRUE;
}

/* .NET 10 hands directory masks to NtQueryDirectoryFile in the kernel's own alphabet (< > " for * ? .), which Wine 8
 * takes literally: "cmd.*" finds nothing, and so no native command is found by name. .NET checks the names it gets. */
struct mask {
    USHORT length, maximum_length;
    WCHAR *text;
};
typedef LONG(NTAPI *query_directory)(HANDLE, HANDLE, void *, void *, void *, void *, ULONG, int, BOOLEAN, struct mask *,
                                     BOOLEAN);
static query_directory wine_query_directory;

static LONG NTAPI query_directory_plainly(HANDLE folder, HANDLE event, void *routine, void *context, void *status,
                                          void *buffer, ULONG size, int kind, BOOLEAN single, struct mask *mask,
                                          BOOLEAN restart)
{
    WCHAR copy[1024];
    struct mask plain = {.text = copy};
    int i;
    if (mask && mask->length && mask->length < sizeof copy) {
        plain.length = plain.maximum_length = mask->length;
        for (i = 0; i < mask->length / 2; i++) {
            WCHAR c = mask->text[i];
            copy[i] = c == '<' ? '*' : c == '>' ? '?' : c == '"' ? '.' : c;
        }
        mask = &plain;
    }
    return wine_query_directory(folder, event, routine, context, status, buffer, size, kind, single, mask, restart);
}

/* Wine's LogonUser returns a token that cannot be used. On Windows, a token with new credentials is that of the
 * process, with another account for shares only, and Windows checks its password only when the first share is used.
 * This replacement returns such a token. A share of a Wine node is a folder without accounts. Each call is recorded
 * (kind 9, provider 3, account, length of the password). */
static BOOL WINAPI log_on(const WCHAR *user, const WCHAR *domain, const WCHAR *password, DWORD kind, DWORD provider,
                          HANDLE *token)
{
    HANDLE own, notes;
    char line[512];
    DWORD done;
    BOOL ok;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_ALL_ACCESS, &own))
        return FALSE;
    ok = DuplicateTokenEx(own, TOKEN_ALL_ACCESS, NULL, SecurityImpersonation, TokenImpersonation, token);
    CloseHandle(own);
    notes = CreateFileW(L"C:\\AlteryxLab\\log-ons.txt", FILE_APPEND_DATA, FILE_SHARE_READ, NULL, OPEN_ALWAYS, 0,
                        NULL);
    if (notes != INVALID_HANDLE_VALUE) {
        snprintf(line, sizeof line, "%lu %lu %ls\\%ls %u\r\n", kind, provider, domain ? domain : L"", user,
                 (unsigned)wcslen(password));
        WriteFile(notes, line, (DWORD)strlen(line), &done, NULL);
        CloseHandle(notes);
    }
    return ok;
}

void mend_wine(void)
{
    if (!GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version"))
        return;
    outermost = TlsAlloc();
    AddVectoredExceptionHandler(1, cut_frames);
    /* This process has no other thread yet, so no replacement is called before the old address is recorded. */
    wine_query_config = (query_config)hook_export(L"advapi32.dll", "QueryServiceConfig2W", query_config_or_nothing);
    hook_export(L"advapi32.dll", "LogonUserW", log_on);
    wine_query_directory = (query_directory)hook_export(L"ntdll.dll", "NtQueryDirectoryFile", query_directory_plainly);
}
