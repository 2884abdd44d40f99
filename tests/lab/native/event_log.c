/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
#include "event_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "behaviour.h"
#include "export_hook.h"

/* As in evntprov.h and evntcons.h. */
struct descriptor {
    USHORT id;
    BYTE version, channel, level, opcode;
    USHORT task;
    ULONGLONG keyword;
};
struct field {
    ULONGLONG address;
    ULONG size, reserved;
};
typedef void(NTAPI *enable)(const GUID *, ULONG, UCHAR, ULONGLONG, ULONGLONG, void *, void *);
typedef ULONG(WINAPI *register_provider)(const GUID *, enable, void *, ULONGLONG *);
typedef ULONG(WINAPI *write_event)(ULONGLONG, const struct descriptor *, ULONG, const struct field *);
typedef ULONG(WINAPI *write_related)(ULONGLONG, const struct descriptor *, const GUID *, const GUID *, ULONG,
                                     const struct field *);
static register_provider wine_register;
static write_event wine_write;
static write_related wine_write_related;

enum { VERBOSE = 5, OPERATIONAL = 16 }; /* a channel; the others are off on Windows */
static const ULONGLONG handle = 0x414c42; /* Wine gives all providers the same */
static const GUID providers[] = {
    /* PowerShellCore, Microsoft-Windows-PowerShell */
    {0xf90714a8, 0x5509, 0x434a, {0xbf, 0x6d, 0xb1, 0x62, 0x4c, 0x8a, 0x19, 0xa2}},
    {0xa0c1853b, 0x5c40, 0x4b15, {0x87, 0x66, 0x3c, 0xf1, 0xc5, 0x8f, 0x98, 0x5a}},
};

/* As if a program had subscribed to every event of PowerShell from its start. */
static ULONG WINAPI register_and_listen(const GUID *provider, enable callback, void *context, ULONGLONG *registered)
{
    size_t i;
    for (i = 0; i < sizeof providers / sizeof *providers; i++)
        if (!memcmp(provider, &providers[i], sizeof *provider)) {
            *registered = handle;
            if (callback)
                callback(provider, 1, VERBOSE, ~0ull, 0, NULL, context);
            return ERROR_SUCCESS;
        }
    return wine_register(provider, callback, context, registered);
}

/* One event in one write: other processes append to the same file. */
static void keep(const struct descriptor *event, ULONG count, const struct field *fields)
{
    size_t room = 64, used;
    ULONG i;
    DWORD written;
    char *text;
    HANDLE file;
    for (i = 0; i < count; i++)
        room += fields[i].size * 2 + 2; /* UTF-8 takes up to three bytes for two */
    if (!(text = malloc(room)))
        return;
    used = (size_t)snprintf(text, 64, "event %u process %lu\r\n", event->id, GetCurrentProcessId());
    for (i = 0; i < count; i++) {
        const wchar_t *field = (const wchar_t *)(ULONG_PTR)fields[i].address;
        used += (size_t)WideCharToMultiByte(CP_UTF8, 0, field, (int)(fields[i].size / sizeof *field), text + used,
                                            (int)(room - used), NULL, NULL);
        text[used - 1] = '\n'; /* a text ends with a 0 */
    }
    file = CreateFileW(L"C:\\AlteryxLab\\powershell-events.txt", FILE_APPEND_DATA,
                       FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_ALWAYS, 0, NULL);
    if (file != INVALID_HANDLE_VALUE) {
        WriteFile(file, text, (DWORD)used, &written, NULL);
        CloseHandle(file);
    }
    free(text);
}

static ULONG WINAPI write_and_keep(ULONGLONG to, const struct descriptor *event, ULONG count,
                                   const struct field *fields)
{
    if (to != handle)
        return wine_write(to, event, count, fields);
    if (event->channel == OPERATIONAL)
        keep(event, count, fields);
    return ERROR_SUCCESS;
}

static ULONG WINAPI write_related_and_keep(ULONGLONG to, const struct descriptor *event, const GUID *activity,
                                           const GUID *related, ULONG count, const struct field *fields)
{
    if (to != handle)
        return wine_write_related(to, event, activity, related, count, fields);
    if (event->channel == OPERATIONAL)
        keep(event, count, fields);
    return ERROR_SUCCESS;
}

void hook_event_log(void)
{
    static const wchar_t dll[] = L"api-ms-win-eventing-provider-l1-1-0.dll"; /* by that name .NET looks them up */
    if (!behaves("event_log", "record"))
        return;
    wine_register = (register_provider)hook_export(dll, "EventRegister", register_and_listen);
    wine_write = (write_event)hook_export(dll, "EventWrite", write_and_keep);
    wine_write_related = (write_related)hook_export(dll, "EventWriteTransfer", write_related_and_keep);
}
