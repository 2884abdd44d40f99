@echo off
rem Copyright (c) alteryx_ops.server_backup contributors
rem GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
rem SPDX-License-Identifier: GPL-3.0-or-later
rem
rem Runs a playbook of the collection in WSL: alteryx-backup.cmd PLAYBOOK [OPTIONS OF ansible-playbook]
rem Not tried: no Windows was in reach. The exit code is that of the run; 8 when another run has not ended.
rem
rem WSL belongs to an account: the distribution, and alteryx-backup in it, must be installed by the account that the
rem task runs under. wsl.exe passes the exit code of the program on.
setlocal
if "%~1"=="" (
    echo usage: alteryx-backup.cmd PLAYBOOK [OPTIONS OF ansible-playbook] 1>&2
    exit /b 3
)
if "%ALTERYX_WSL_DISTRIBUTION%"=="" set "ALTERYX_WSL_DISTRIBUTION=Debian"
wsl.exe --distribution %ALTERYX_WSL_DISTRIBUTION% --exec /usr/local/bin/alteryx-backup %*
exit /b %ERRORLEVEL%
