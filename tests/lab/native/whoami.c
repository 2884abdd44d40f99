/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Double of whoami.exe: the lab's scheduled tasks carry the SID of their account in LAB_ACCOUNT, since Wine has one
 * user only. Knows: no arguments, and /user [/fo csv|list|table] [/nh] (always answered as csv). */
#include <stdio.h>
#include <string.h>
#include <windows.h>
#include <sddl.h>

static void lower(wchar_t *text)
{
    CharLowerW(text);
}

static int own_account(wchar_t *name, wchar_t **sid)
{
    BYTE buffer[1024];
    wchar_t user[256], domain[256];
    DWORD size, users = 256, domains = 256;
    SID_NAME_USE use;
    HANDLE token;
    PSID own = NULL;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token) ||
        !GetTokenInformation(token, TokenUser, buffer, sizeof buffer, &size))
        return -1;
    own = ((TOKEN_USER *)buffer)->User.Sid;
    if (!ConvertSidToStringSidW(own, sid) || !LookupAccountSidW(NULL, own, user, &users, domain, &domains, &use))
        return -1;
    _snwprintf(name, 512, L"%ls\\%ls", domain, user);
    lower(name);
    return 0;
}

int wmain(int argc, wchar_t **argv)
{
    wchar_t account[256] = L"", name[512] = L"lab\\account", *sid = account;
    int i, user = 0, header = 1;
    GetEnvironmentVariableW(L"LAB_ACCOUNT", account, 256);
    for (i = 1; i < argc; i++) {
        user |= !_wcsicmp(argv[i], L"/user");
        header &= _wcsicmp(argv[i], L"/nh") != 0;
    }
    if (argc > 1 && !user) {
        fputs("ERROR: Invalid argument/option (the lab's whoami knows /user only).\n", stderr);
        return 1;
    }
    if (!wcscmp(account, L"S-1-5-18"))
        wcscpy(name, L"nt authority\\system");
    else if (!wcscmp(account, L"S-1-5-19"))
        wcscpy(name, L"nt authority\\local service");
    else if (!wcscmp(account, L"S-1-5-20"))
        wcscpy(name, L"nt authority\\network service");
    else if (!*account && own_account(name, &sid)) {
        fprintf(stderr, "ERROR: %lu\n", GetLastError());
        return 1;
    }
    if (!user)
        printf("%ls\n", name);
    else
        printf("%s\"%ls\",\"%ls\"\n", header ? "\"User Name\",\"SID\"\n" : "", name, sid);
    return 0;
}
