/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */

/* What mongod.exe imports of dbghelp.dll, all of it failing. mongod.exe asks for symbols when it starts, for the stack
 * of a crash. Wine's own dbghelp.dll then reads the debug information of every loaded file of Wine: 3 s of a start of
 * 4 s. */
#include <windows.h>

#define FAILS(name)                                                                                                    \
    __declspec(dllexport) ULONG_PTR WINAPI name(void)                                                                  \
    {                                                                                                                  \
        return 0;                                                                                                      \
    }

FAILS(EnumerateLoadedModules64)
FAILS(MiniDumpWriteDump)
FAILS(StackWalk64)
FAILS(SymCleanup)
FAILS(SymFromAddr)
FAILS(SymGetLineFromAddr64)
FAILS(SymGetModuleInfo64)
FAILS(SymGetOptions)
FAILS(SymInitialize)
FAILS(SymInitializeW)
FAILS(SymLoadModule64)
FAILS(SymSetOptions)
