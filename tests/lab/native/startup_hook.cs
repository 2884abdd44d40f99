// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A start-up hook of .NET in powershell.exe of a node. Every runspace of the process gets functions that stand before
// cmdlets of the same name: Get-CimInstance, so that behaviour.ini can order faults of WMI; Add-Type and New-Module, so
// that C# which was compiled once is not compiled again. No script is changed for it.

using System;
using System.IO;
using System.Reflection;

/// <summary>What .NET calls before the program; name and place are prescribed.</summary>
internal static class StartupHook
{
    // Function of the engine that no script asks for -> the function that takes its place, the resource with its body.
    private static readonly string[][] Functions =
    {
        new[] { "cd~", "Get-CimInstance", "get_cim_instance.ps1" },
        new[] { "help", "Add-Type", "add_type.ps1" },
        new[] { "oss", "New-Module", "new_module.ps1" }
    };

    public static void Initialize()
    {
        Environment.SetEnvironmentVariable("DOTNET_STARTUP_HOOKS", null);
        const string Engine = "System.Management.Automation";
        Type states = Type.GetType(Engine + ".Runspaces.InitialSessionState, " + Engine);
        FieldInfo field = states.GetField("BuiltInFunctions", BindingFlags.NonPublic | BindingFlags.Static);
        Array entries = (Array)field.GetValue(null);
        Type entry = entries.GetType().GetElementType();
        PropertyInfo name = entry.GetProperty("Name");
        foreach (string[] function in Functions)
        {
            int at = 0;
            while ((string)name.GetValue(entries.GetValue(at), null) != function[0]) { at++; }
            entries.SetValue(Activator.CreateInstance(entry, function[1], Text(function[2])), at);
        }
    }

    private static string Text(string resource)
    {
        using (Stream text = typeof(StartupHook).Assembly.GetManifestResourceStream(resource))
        using (var reader = new StreamReader(text))
        {
            return reader.ReadToEnd();
        }
    }
}
