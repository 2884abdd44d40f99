/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* Double of AlteryxService.exe: a Windows service, and one verb per call (verb or verb=value). What is known of the
 * real one: facts on Alteryx Server, section 4. Not one byte of it is Alteryx's. */
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

#include "behaviour.h"
#include "service_loop.h"
#include "settings.h"
#include "verbs.h"

static int help(void)
{
    puts("AlteryxService.exe verb[=value]\n"
         "  getversion\n  getserversecret\n  getemongopassword\n"
         "  emongodump=<folder>\n  emongorestore=<source>,<target>\n  -help");
    return 0;
}

static int getversion(void)
{
    wchar_t version[64] = L"0.0.0.0";
    DWORD size = sizeof version;
    RegGetValueW(HKEY_LOCAL_MACHINE, L"SOFTWARE\\WOW6432Node\\SRC\\Alteryx", L"LastVersion", RRF_RT_REG_SZ, NULL,
        version, &size);
    printf("AlteryxService version %ls\n", version);
    return 0;
}

static int getserversecret(void)
{
    const char *secret = setting_secret("Controller", "ServerSecretEncrypted");
    if (behaves("getserversecret", "leak"))
        printf("Error: the store is locked, the last value was ");
    puts(behaves("getserversecret", "fail") || !*secret ? "Failed to get the server secret" : secret);
    return 0;
}

static int getemongopassword(void)
{
    wchar_t account[256] = L"";
    GetEnvironmentVariableW(L"LAB_ACCOUNT", account, 256); /* of a task of SYSTEM */
    if (*account && behaves("getemongopassword", "deny_system")) {
        puts("Unable to read the settings: access to the path is denied.");
        return 0;
    }
    printf("Admin: %s\nNon-Admin: %s\n", setting_secret("Controller", "EmbeddedMongoDBAdminPasswordEncrypted"),
           setting_secret("Controller", "EmbeddedMongoDBPasswordEncrypted"));
    return 0;
}

int wmain(int argc, wchar_t **argv)
{
    const wchar_t *verb = argc > 1 ? argv[1] : L"", *value = wcschr(verb, L'=');
    if (argc == 1 && service_run())
        return 0;
    if (!wcscmp(verb, L"getversion"))
        return getversion();
    if (!wcscmp(verb, L"getserversecret") || !wcscmp(verb, L"getsecret"))
        return getserversecret();
    if (!wcscmp(verb, L"getemongopassword"))
        return getemongopassword();
    if (value && !wcsncmp(verb, L"emongodump=", 11))
        return emongodump(value + 1);
    if (value && !wcsncmp(verb, L"emongorestore=", 14))
        return emongorestore(value + 1);
    return help();
}
