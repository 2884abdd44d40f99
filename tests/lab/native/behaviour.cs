// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

using System;
using System.IO;
using System.Threading;

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
