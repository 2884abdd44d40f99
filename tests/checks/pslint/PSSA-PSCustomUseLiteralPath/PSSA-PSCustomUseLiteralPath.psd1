# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
@{
    RootModule = 'PSSA-PSCustomUseLiteralPath.psm1'
    ModuleVersion = '0.1.1'
    GUID = '2f6c7d1e-0f3b-4a1c-9d55-6f4f0a7f8f43'
    FunctionsToExport = @('Invoke-ScriptAnalyzer', 'Measure-UseLiteralPath')
}
