/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Double of schtasks.exe: it only forwards. The lab's daemon decides (tests/lab/task_scheduler.py).
 *
 * One TCP connection per call to 127.0.0.1:PORT; PORT is the DWORD SchedulerPort in HKLM\Software\AlteryxLab.
 * UTF-8, one line each way:
 *   request  {"argv": [...], "cwd": "C:\\...", "account": "S-1-5-18", "administrator": true, "xml_base64": "...",
 *            "xml_error": 0}
 *            argv without the program's name. xml_base64: the bytes of the file named after /XML, null without one or
 *            when it could not be read, then xml_error is the Win32 error. account: LAB_ACCOUNT of the caller.
 *            administrator: of the caller's token.
 *   answer   {"rc": 0, "stdout": "...", "stderr": "..."}
 */
#include <winsock2.h>

#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include "text.h"

static void add_base64(struct text *json, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t i;
    for (i = 0; i < size; i += 3) {
        unsigned value =
            (unsigned)bytes[i] << 16 | (i + 1 < size ? bytes[i + 1] << 8 : 0) | (i + 2 < size ? bytes[i + 2] : 0);
        char group[4] = {digits[value >> 18], digits[value >> 12 & 63], i + 1 < size ? digits[value >> 6 & 63] : '=',
                         i + 2 < size ? digits[value & 63] : '='};
        text_add(json, group, 4);
    }
}

static int is_administrator(void)
{
    BYTE administrators[SECURITY_MAX_SID_SIZE];
    DWORD size = sizeof administrators;
    BOOL member = FALSE;
    return CreateWellKnownSid(WinBuiltinAdministratorsSid, NULL, administrators, &size) &&
        CheckTokenMembership(NULL, administrators, &member) && member;
}

static void build_request(struct text *json, int argc, wchar_t **argv)
{
    wchar_t folder[MAX_PATH] = L"", account[256] = L"";
    const wchar_t *xml = NULL;
    unsigned long error = 0;
    char *content = NULL;
    size_t size = 0;
    int i;
    text_adds(json, "{\"argv\": [");
    for (i = 1; i < argc; i++) {
        if (i > 1)
            text_adds(json, ", ");
        text_add_json(json, utf8(argv[i]));
        if (!_wcsicmp(argv[i], L"/XML") && i + 1 < argc && argv[i + 1][0] != L'/' && _wcsicmp(argv[i + 1], L"ONE"))
            xml = argv[i + 1];
    }
    GetCurrentDirectoryW(MAX_PATH, folder);
    GetEnvironmentVariableW(L"LAB_ACCOUNT", account, 256);
    text_adds(json, "], \"cwd\": ");
    text_add_json(json, utf8(folder));
    text_adds(json, ", \"account\": ");
    text_add_json(json, utf8(account));
    text_addf(json, ", \"administrator\": %s, \"xml_base64\": ", is_administrator() ? "true" : "false");
    if (xml && (content = read_file(xml, &size, &error))) {
        text_adds(json, "\"");
        add_base64(json, (unsigned char *)content, size);
        text_adds(json, "\"");
    } else {
        text_adds(json, "null");
    }
    text_addf(json, ", \"xml_error\": %lu}\n", error);
}

static int ask(const struct text *request, struct text *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    DWORD port = 0, size = sizeof port, limit = 180000; /* longer than any hang that is ordered */
    WSADATA winsock;
    SOCKET connection;
    size_t sent = 0;
    char block[4096];
    int count;
    WSAStartup(MAKEWORD(2, 2), &winsock);
    if (RegGetValueW(
            HKEY_LOCAL_MACHINE, L"Software\\AlteryxLab", L"SchedulerPort", RRF_RT_REG_DWORD, NULL, &port, &size))
        return -1;
    connection = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, (const char *)&limit, sizeof limit);
    address.sin_port = htons((u_short)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(connection, (struct sockaddr *)&address, sizeof address))
        return -1;
    for (; sent < request->size; sent += (size_t)count)
        if ((count = send(connection, request->data + sent, (int)(request->size - sent), 0)) <= 0)
            return -1;
    while ((count = recv(connection, block, sizeof block, 0)) > 0) {
        text_add(answer, block, (size_t)count);
        if (block[count - 1] == '\n')
            return 0;
    }
    return answer->size ? 0 : -1;
}

/* Behind "name": in the answer, which is flat and written by our own daemon. */
static const char *member(const char *json, const char *name)
{
    char key[32];
    const char *at;
    snprintf(key, sizeof key, "\"%s\":", name);
    at = strstr(json, key);
    if (!at)
        return NULL;
    at += strlen(key);
    return at + strspn(at, " ");
}

static void print_string(const char *at, FILE *stream)
{
    struct text bytes = {0};
    text_adds(&bytes, "");
    for (at++; *at && *at != '"'; at++) {
        static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
        const char *known;
        if (*at != '\\') {
            text_add(&bytes, at, 1);
        } else if (*++at == 'u') {
            wchar_t units[3] = {0};
            char digits[5] = {at[1], at[2], at[3], at[4], 0};
            units[0] = (wchar_t)strtoul(digits, NULL, 16);
            at += 4;
            if (units[0] >= 0xd800 && units[0] < 0xdc00 && at[1] == '\\' && at[2] == 'u') { /* a surrogate pair */
                memcpy(digits, at + 3, 4);
                units[1] = (wchar_t)strtoul(digits, NULL, 16);
                at += 6;
            }
            text_adds(&bytes, utf8(units));
        } else if ((known = strchr(from, *at))) {
            text_add(&bytes, to + (known - from), 1);
        } else {
            text_add(&bytes, at, 1);
        }
    }
    fwrite(bytes.data, 1, bytes.size, stream);
}

int wmain(int argc, wchar_t **argv)
{
    struct text request = {0}, answer = {0};
    const char *code, *output, *error;
    int i, unreachable = 1;
    _setmode(1, 0x8000); /* binary: the daemon sends its own line ends */
    _setmode(2, 0x8000);
    for (i = 1; i < argc; i++)
        if (!_wcsicmp(argv[i], L"/HRESULT"))
            unreachable = (int)0x800706BA; /* RPC_S_SERVER_UNAVAILABLE */
    build_request(&request, argc, argv);
    if (ask(&request, &answer)) {
        fputs("ERROR: The Task Scheduler service is not available.\r\n", stderr);
        return unreachable;
    }
    code = member(answer.data, "rc");
    output = member(answer.data, "stdout");
    error = member(answer.data, "stderr");
    if (output && *output == '"')
        print_string(output, stdout);
    if (error && *error == '"')
        print_string(error, stderr);
    return code ? (int)strtoul(code, NULL, 10) : 1; /* an HRESULT uses all 32 bits */
}
