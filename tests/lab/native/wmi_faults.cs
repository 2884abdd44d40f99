// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A start-up hook of .NET in powershell.exe of a node: every runspace of the process gets a function Get-CimInstance
// before the cmdlet, so that behaviour.ini can order faults of WMI. Nothing of a script is touched for it.

using System;
using System.IO;
using System.Reflection;
using System.Threading;

/// <summary>What .NET calls before the program; name and place are prescribed.</summary>
internal static class StartupHook
{
    // Nobody asks for it, and Windows PowerShell 5.1 does not have it.
    private const string UnneededFunction = "cd~";

    public static void Initialize()
    {
        Environment.SetEnvironmentVariable("DOTNET_STARTUP_HOOKS", null);
        const string Engine = "System.Management.Automation";
        Type states = Type.GetType(Engine + ".Runspaces.InitialSessionState, " + Engine);
        FieldInfo field = states.GetField("BuiltInFunctions", BindingFlags.NonPublic | BindingFlags.Static);
        Array functions = (Array)field.GetValue(null);
        Type entry = functions.GetType().GetElementType();
        PropertyInfo name = entry.GetProperty("Name");
        for (int i = 0; i < functions.Length; i++)
        {
            if ((string)name.GetValue(functions.GetValue(i), null) != UnneededFunction) { continue; }
            functions.SetValue(Activator.CreateInstance(entry, "Get-CimInstance", FunctionText()), i);
            return;
        }
        throw new InvalidOperationException("the engine has no function " + UnneededFunction + " to replace");
    }

    private static string FunctionText()
    {
        using (Stream text = typeof(StartupHook).Assembly.GetManifestResourceStream("get_cim_instance.ps1"))
        using (var reader = new StreamReader(text))
        {
            return reader.ReadToEnd();
        }
    }
}

namespace AlteryxLab
{
    /// <summary>behaviour.ini, read anew at every question.</summary>
    public static class Behaviour
    {
        /// <summary>The key's value or "".</summary>
        public static string Get(string key)
        {
            try
            {
                foreach (string line in File.ReadAllLines(@"C:\AlteryxLab\behaviour.ini"))
                {
                    if (line.StartsWith(key + "=", StringComparison.Ordinal)) { return line.Substring(key.Length + 1); }
                }
            }
            catch (FileNotFoundException)
            {
            }
            return "";
        }

        /// <summary>Return once the key has another value. Stopping the pipeline does not help: a call that hangs in
        /// WMI is not asked.</summary>
        public static void WaitWhile(string key, string value)
        {
            while (Get(key) == value) { Thread.Sleep(200); }
        }
    }
}
