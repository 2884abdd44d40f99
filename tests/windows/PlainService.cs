// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//AssemblyReference -Name System.ServiceProcess.dll

// The harmless service of try_window.ps1, compiled on the spot. Without arguments it is a service that does nothing.
// With emongodump=FOLDER it writes some small files there, as many seconds long as the file dump_seconds.txt beside the
// program says, and ends. plain_service.c is the same for Wine, which has no .NET Framework.

using System;
using System.Globalization;
using System.IO;
using System.ServiceProcess;
using System.Threading;

namespace AlteryxOpsTry
{
    public sealed class PlainService : ServiceBase
    {
        private const string DumpVerb = "emongodump=";

        public PlainService()
        {
            CanShutdown = true;
        }

        public static int Main(string[] arguments)
        {
            if (arguments.Length == 0)
            {
                Run(new PlainService());
                return 0;
            }
            if (!arguments[0].StartsWith(DumpVerb, StringComparison.Ordinal))
            {
                Console.WriteLine("unknown verb");
                return 1;
            }
            Dump(arguments[0].Substring(DumpVerb.Length).Trim('"'));
            return 0;
        }

        private static void Dump(string folder)
        {
            string setting = Path.Combine(AppDomain.CurrentDomain.BaseDirectory, "dump_seconds.txt");
            int seconds = int.Parse(File.ReadAllText(setting).Trim(), CultureInfo.InvariantCulture);
            string database = Path.Combine(folder, "AlteryxService");
            Directory.CreateDirectory(database);
            for (int second = 0; second < seconds; second++)
            {
                string name = "part" + second.ToString(CultureInfo.InvariantCulture) + ".bson";
                File.WriteAllBytes(Path.Combine(database, name), new byte[1024]);
                Console.WriteLine("wrote " + name);
                Thread.Sleep(1000);
            }
        }
    }
}
