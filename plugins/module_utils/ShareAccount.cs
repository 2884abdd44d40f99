// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The account with which a job opens shares.

using System;
using System.Runtime.InteropServices;

namespace AlteryxOps
{
    public static class ShareAccount
    {
        /// <summary>Uses another account for shares in the calling thread, until that thread ends or uses the next one.
        /// Returns the error of Windows, 0 for none. Without a user the thread uses the account of the process again.
        ///
        /// These are "new credentials": on this machine the thread keeps its own account. The password is checked only
        /// when the first share is opened. Not WNetAddConnection2: that connects for all of SYSTEM, and Windows refuses
        /// a second account for one server (error 1219).</summary>
        public static int Use(string user, string domain, string password)
        {
            const int newCredentials = 9, negotiate = 3;
            IntPtr token;
            if (!RevertToSelf()) { return Marshal.GetLastWin32Error(); }
            if (string.IsNullOrEmpty(user)) { return 0; }
            if (!LogonUserW(user, domain, password, newCredentials, negotiate, out token))
            {
                return Marshal.GetLastWin32Error();
            }
            try { return ImpersonateLoggedOnUser(token) ? 0 : Marshal.GetLastWin32Error(); }
            finally { CloseHandle(token); }
        }

        [DllImport("advapi32.dll", SetLastError = true)]
        private static extern bool RevertToSelf();

        [DllImport("kernel32.dll")]
        private static extern bool CloseHandle(IntPtr handle);

        [DllImport("advapi32.dll", CharSet = CharSet.Unicode, SetLastError = true)]
        private static extern bool LogonUserW(
            string user, string domain, string password, int kind, int provider, out IntPtr token);

        [DllImport("advapi32.dll", SetLastError = true)]
        private static extern bool ImpersonateLoggedOnUser(IntPtr token);
    }
}
