// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

using System;
using System.IO;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;

namespace AlteryxLab
{
    /// <summary>Assemblies that were compiled from C# once, by a hash of all that went into them. All nodes of a lab
    /// share the folder. Whatever fails here costs a compilation and nothing else.</summary>
    public static class CompileCache
    {
        private const string Folder = @"C:\AlteryxLab\compiled";

        /// <summary>The name for what these texts make together; the order counts.</summary>
        public static string Key(params string[] parts)
        {
            var all = new StringBuilder(typeof(CompileCache).Assembly.ManifestModule.ModuleVersionId.ToString());
            foreach (string part in parts) { all.Append('\0').Append((part ?? "").Length).Append('\0').Append(part); }
            using (SHA256 hash = SHA256.Create())
            {
                byte[] digest = hash.ComputeHash(Encoding.UTF8.GetBytes(all.ToString()));
                return BitConverter.ToString(digest, 0, 16).Replace("-", "").ToLowerInvariant();
            }
        }

        /// <summary>The assembly of this key, loaded; null when it was not compiled yet.</summary>
        public static Assembly Load(string key)
        {
            try
            {
                string path = PathOf(key);
                return File.Exists(path) ? Assembly.Load(File.ReadAllBytes(path)) : null;
            }
            catch (Exception) { return null; }
        }

        /// <summary>Keep a compiled assembly under its key.</summary>
        public static void Keep(string key, byte[] image)
        {
            string draft = PathOf(key + "." + Guid.NewGuid().ToString("N"));
            try
            {
                File.WriteAllBytes(draft, image);
                File.Move(draft, PathOf(key));  // fails where another process was faster
            }
            catch (Exception)
            {
                try { File.Delete(draft); } catch (Exception) { }
            }
        }

        private static string PathOf(string name)
        {
            return Path.Combine(Folder, name + ".dll");
        }
    }
}
