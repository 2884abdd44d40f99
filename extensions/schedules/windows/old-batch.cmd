@echo off
rem Copyright (c) alteryx_ops.server_backup contributors
rem GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
rem SPDX-License-Identifier: GPL-3.0-or-later
rem
rem What takes the place of the body of an old Alteryx-backup.bat, so that what calls it stays as it is. Not tried.
rem Leave out its own stop and start of the service: the playbook stops and starts it, and brings it back.
call "%~dp0alteryx-backup.cmd" full_backup -l alteryx_prod
set "code=%ERRORLEVEL%"
rem 7: a service may be down. Act at once.
if "%code%"=="7" echo A service of Alteryx Server may be down. 1>&2
exit /b %code%
