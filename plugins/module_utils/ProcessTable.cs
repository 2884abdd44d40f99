// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The processes of a node, without WMI: which there are, which belong together, and how one of them is ended.
// A process is its id and its birth. Process ids are used again; the pair is not.

using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

namespace AlteryxOps
{
    /// <summary>One process. Birth: milliseconds since 0001-01-01 UTC, 0 where Windows does not tell. Path: empty where
    /// Windows does not tell.</summary>
    public sealed class ProcessEntry
    {
        public int Id;
        public int ParentId;
        public string Name;
        public long Birth;
        public string Path;
    }

    public static class ProcessTable
    {
        private const int QueryLimited = 0x1000;
        private const int Terminate = 0x1;
        private const int Synchronize = 0x100000;
        private const uint Signaled = 0;
        private const int NoSuchProcess = 87;  // ERROR_INVALID_PARAMETER
        private const int BasicProcessIdList = 3;
        private const int ExtendedLimitInformation = 9;
        private const int KillOnJobClose = 0x2000;
        // FILETIME counts from 1601, DateTime from 0001.
        private const long FileTimeEpoch = 504911232000000000;
        private static readonly IntPtr InvalidHandle = new IntPtr(-1);

        // Open for as long as this process lives: Windows ends the members when the last handle is closed.
        private static IntPtr _job = IntPtr.Zero;

        // Windows fills these fields. Ansible treats the warning that nobody does (CS0649) as an error.
#pragma warning disable 0649
        [StructLayout(LayoutKind.Sequential, CharSet = CharSet.Unicode)]
        private struct ProcessEntry32
        {
            public int Size;
            public int Usage;
            public int Id;
            public IntPtr DefaultHeap;
            public int Module;
            public int Threads;
            public int ParentId;
            public int Priority;
            public int Flags;
            [MarshalAs(UnmanagedType.ByValTStr, SizeConst = 260)] public string Name;
        }

        [StructLayout(LayoutKind.Sequential)]
        private struct ServiceStatusProcess
        {
            public int Type;
            public int State;
            public int Controls;
            public int ExitCode;
            public int SpecificExitCode;
            public int CheckPoint;
            public int WaitHint;
            public int ProcessId;
            public int Flags;
        }
#pragma warning restore 0649

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern IntPtr CreateToolhelp32Snapshot(int flags, int processId);

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "Process32FirstW")]
        private static extern bool Process32First(IntPtr snapshot, ref ProcessEntry32 entry);

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "Process32NextW")]
        private static extern bool Process32Next(IntPtr snapshot, ref ProcessEntry32 entry);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern IntPtr OpenProcess(int access, bool inherit, int processId);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool GetProcessTimes(
            IntPtr process, out long created, out long exited, out long kernel, out long user);

        [DllImport(
            "kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "QueryFullProcessImageNameW")]
        private static extern bool QueryFullProcessImageName(
            IntPtr process, int flags, StringBuilder name, ref int size);

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "CreateFileW")]
        private static extern IntPtr CreateFile(
            string path, int access, int share, IntPtr security, int disposition, int flags, IntPtr template);

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode,
            EntryPoint = "GetFinalPathNameByHandleW")]
        private static extern int GetFinalPathNameByHandle(IntPtr handle, StringBuilder path, int size, int flags);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool TerminateProcess(IntPtr process, int exitCode);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern uint WaitForSingleObject(IntPtr handle, int milliseconds);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool CloseHandle(IntPtr handle);

        [DllImport("kernel32.dll")]
        private static extern IntPtr GetCurrentProcess();

        [DllImport("kernel32.dll")]
        private static extern int GetCurrentProcessId();

        [DllImport("kernel32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "CreateJobObjectW")]
        private static extern IntPtr CreateJobObject(IntPtr security, string name);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool SetInformationJobObject(IntPtr job, int kind, IntPtr information, int size);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool QueryInformationJobObject(
            IntPtr job, int kind, IntPtr information, int size, IntPtr returned);

        [DllImport("kernel32.dll", SetLastError = true)]
        private static extern bool AssignProcessToJobObject(IntPtr job, IntPtr process);

        [DllImport("advapi32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "OpenSCManagerW")]
        private static extern IntPtr OpenSCManager(string machine, string database, int access);

        [DllImport("advapi32.dll", SetLastError = true, CharSet = CharSet.Unicode, EntryPoint = "OpenServiceW")]
        private static extern IntPtr OpenService(IntPtr manager, string name, int access);

        [DllImport("advapi32.dll", SetLastError = true)]
        private static extern bool QueryServiceStatusEx(
            IntPtr service, int level, ref ServiceStatusProcess status, int size, out int needed);

        [DllImport("advapi32.dll", SetLastError = true)]
        private static extern bool CloseServiceHandle(IntPtr handle);

        /// <summary>The path of a folder as Windows tells it of the processes in it: without short names, and without
        /// the links and mounted volumes on the way to it. Empty where Windows does not tell.</summary>
        public static string RealFolder(string folder)
        {
            // Any access, shared with everybody; a folder opens with FILE_FLAG_BACKUP_SEMANTICS only.
            IntPtr handle = CreateFile(folder, 0, 7, IntPtr.Zero, 3, 0x02000000, IntPtr.Zero);
            if (handle == InvalidHandle)
            {
                return string.Empty;
            }
            try
            {
                StringBuilder path = new StringBuilder(32768);
                int length = GetFinalPathNameByHandle(handle, path, path.Capacity, 0);
                if (length == 0 || length >= path.Capacity)
                {
                    return string.Empty;
                }
                string text = path.ToString();
                if (text.StartsWith("\\\\?\\UNC\\", StringComparison.Ordinal))
                {
                    return "\\\\" + text.Substring(8);
                }
                return text.StartsWith("\\\\?\\", StringComparison.Ordinal) ? text.Substring(4) : text;
            }
            finally
            {
                CloseHandle(handle);
            }
        }

        /// <summary>Every process of the node. One that Windows does not let us open has a name and no path.</summary>
        public static ProcessEntry[] Read()
        {
            List<ProcessEntry> found = new List<ProcessEntry>();
            IntPtr snapshot = CreateToolhelp32Snapshot(2, 0);
            // Windows refuses it for a moment when it is short of memory or the list changes meanwhile.
            for (int attempt = 1; snapshot == InvalidHandle; attempt++)
            {
                int problem = Marshal.GetLastWin32Error();
                if (attempt == 20)
                {
                    throw new System.ComponentModel.Win32Exception(problem);
                }
                Thread.Sleep(100);
                snapshot = CreateToolhelp32Snapshot(2, 0);
            }
            try
            {
                ProcessEntry32 row = new ProcessEntry32();
                row.Size = Marshal.SizeOf(typeof(ProcessEntry32));
                for (bool more = Process32First(snapshot, ref row); more; more = Process32Next(snapshot, ref row))
                {
                    found.Add(Describe(row.Id, row.ParentId, row.Name));
                }
            }
            finally
            {
                CloseHandle(snapshot);
            }
            return found.ToArray();
        }

        /// <summary>The birth of a process that lives; 0 when there is none, -1 when there may be one that Windows does
        /// not let us open.</summary>
        public static long GetBirth(int id)
        {
            IntPtr process = OpenProcess(QueryLimited | Synchronize, false, id);
            if (process == IntPtr.Zero)
            {
                return Marshal.GetLastWin32Error() == NoSuchProcess ? 0 : -1;
            }
            try
            {
                // A process that has ended can still be opened while somebody holds a handle to it.
                return WaitForSingleObject(process, 0) == Signaled ? 0 : BirthOf(process);
            }
            finally
            {
                CloseHandle(process);
            }
        }

        /// <summary>A process and everything below it. The process itself counts when it is the one of this birth (0:
        /// any). A child is one whose parent is in the tree and that began no earlier; it outlives its parent and still
        /// names it. A child whose birth is not known counts.</summary>
        public static ProcessEntry[] ReadTree(int id, long birth)
        {
            ProcessEntry[] all = Read();
            List<ProcessEntry> tree = new List<ProcessEntry>();
            ProcessEntry own = null;
            foreach (ProcessEntry entry in all)
            {
                if (entry.Id == id && (birth == 0 || entry.Birth == birth))
                {
                    own = entry;
                }
            }
            if (own == null && birth == 0)
            {
                // Windows keeps the parent's id of every process, however long that parent is gone.
                return tree.ToArray();
            }
            ProcessEntry root = new ProcessEntry();
            root.Id = id;
            root.Birth = own == null ? birth : own.Birth;
            tree.Add(root);
            for (int index = 0; index < tree.Count; index++)
            {
                foreach (ProcessEntry entry in all)
                {
                    bool younger = entry.Birth == 0 || entry.Birth >= tree[index].Birth;
                    if (entry.ParentId == tree[index].Id && entry.Id != id && younger && !tree.Contains(entry))
                    {
                        tree.Add(entry);
                    }
                }
            }
            tree.RemoveAt(0);
            if (own != null)
            {
                tree.Insert(0, own);
            }
            return tree.ToArray();
        }

        /// <summary>Ends one process and waits for its end, at most that long. True when it lives no more.
        /// Never throws: a process that is dying already refuses to be ended. Birth tells it from a later
        /// one with its id (0: any).
        /// </summary>
        public static bool Finish(int id, long birth, int milliseconds)
        {
            IntPtr process = OpenProcess(Terminate | Synchronize | QueryLimited, false, id);
            if (process == IntPtr.Zero)
            {
                return GetBirth(id) == 0;
            }
            try
            {
                if (birth != 0 && BirthOf(process) != birth)
                {
                    return true;
                }
                TerminateProcess(process, 1);
                return WaitForSingleObject(process, milliseconds) == Signaled;
            }
            finally
            {
                CloseHandle(process);
            }
        }

        /// <summary>Puts this process into a job object that Windows ends with it: whatever it starts from now on dies
        /// when it dies, however it dies. False, with the error number in problem, where Windows refuses.</summary>
        public static bool HoldChildren(out int problem)
        {
            problem = 0;
            if (_job != IntPtr.Zero)
            {
                return true;
            }
            // JOBOBJECT_EXTENDED_LIMIT_INFORMATION: 144 bytes in a process of 64 bits, 112 in one
            // of 32; LimitFlags at 16.
            int size = IntPtr.Size == 8 ? 144 : 112;
            IntPtr limits = Marshal.AllocHGlobal(size);
            IntPtr job = CreateJobObject(IntPtr.Zero, null);
            try
            {
                for (int index = 0; index < size; index++)
                {
                    Marshal.WriteByte(limits, index, 0);
                }
                Marshal.WriteInt32(limits, 16, KillOnJobClose);
                if (job == IntPtr.Zero || !SetInformationJobObject(job, ExtendedLimitInformation, limits, size) ||
                    !AssignProcessToJobObject(job, GetCurrentProcess()))
                {
                    problem = Marshal.GetLastWin32Error();
                    if (job != IntPtr.Zero)
                    {
                        CloseHandle(job);
                    }
                    return false;
                }
            }
            finally
            {
                Marshal.FreeHGlobal(limits);
            }
            _job = job;
            return true;
        }

        /// <summary>The other processes in our job object; empty where there is none.</summary>
        public static ProcessEntry[] ReadHeld()
        {
            List<ProcessEntry> held = new List<ProcessEntry>();
            if (_job == IntPtr.Zero)
            {
                return held.ToArray();
            }
            const int room = 1024;
            int size = 8 + (room * IntPtr.Size);
            IntPtr list = Marshal.AllocHGlobal(size);
            try
            {
                // With more members than room the call fails and still fills what there is room for.
                Marshal.WriteInt32(list, 4, 0);
                QueryInformationJobObject(_job, BasicProcessIdList, list, size, IntPtr.Zero);
                int count = Math.Min(room, Marshal.ReadInt32(list, 4));
                for (int index = 0; index < count; index++)
                {
                    int id = (int)Marshal.ReadIntPtr(list, 8 + (index * IntPtr.Size)).ToInt64();
                    if (id != GetCurrentProcessId())
                    {
                        held.Add(Describe(id, 0, string.Empty));
                    }
                }
            }
            finally
            {
                Marshal.FreeHGlobal(list);
            }
            return held.ToArray();
        }

        /// <summary>The process of a Windows service; 0 when it has none or there is no such service.</summary>
        public static int GetServiceProcess(string name)
        {
            IntPtr manager = OpenSCManager(null, null, 1);
            if (manager == IntPtr.Zero)
            {
                return 0;
            }
            IntPtr service = OpenService(manager, name, 4);
            try
            {
                ServiceStatusProcess status = new ServiceStatusProcess();
                int needed;
                if (service == IntPtr.Zero
                    || !QueryServiceStatusEx(
                        service, 0, ref status, Marshal.SizeOf(typeof(ServiceStatusProcess)), out needed))
                {
                    return 0;
                }
                return status.ProcessId;
            }
            finally
            {
                if (service != IntPtr.Zero)
                {
                    CloseServiceHandle(service);
                }
                CloseServiceHandle(manager);
            }
        }

        private static ProcessEntry Describe(int id, int parentId, string name)
        {
            ProcessEntry entry = new ProcessEntry();
            entry.Id = id;
            entry.ParentId = parentId;
            entry.Name = name;
            entry.Path = string.Empty;
            IntPtr process = OpenProcess(QueryLimited, false, id);
            if (process == IntPtr.Zero)
            {
                return entry;
            }
            try
            {
                entry.Birth = BirthOf(process);
                StringBuilder path = new StringBuilder(32768);
                int size = path.Capacity;
                if (QueryFullProcessImageName(process, 0, path, ref size))
                {
                    entry.Path = path.ToString();
                }
            }
            finally
            {
                CloseHandle(process);
            }
            return entry;
        }

        private static long BirthOf(IntPtr process)
        {
            long created;
            long exited;
            long kernel;
            long user;
            if (!GetProcessTimes(process, out created, out exited, out kernel, out user))
            {
                return 0;
            }
            return (created + FileTimeEpoch) / 10000;
        }
    }

    /// <summary>What a program prints, read on a thread of its own. A child of the program that lives on keeps the pipe
    /// open; then Text is what there is until now.</summary>
    public sealed class PrintedText
    {
        private readonly TextReader _source;
        private readonly StringBuilder _text = new StringBuilder();
        private readonly Thread _thread;

        public PrintedText(TextReader source)
        {
            _source = source;
            _thread = new Thread(Read);
            _thread.IsBackground = true;
            _thread.Start();
        }

        public string Text
        {
            get
            {
                lock (_text)
                {
                    return _text.ToString();
                }
            }
        }

        /// <summary>Waits for the end of the text, at most that long; false when it has not come.</summary>
        public bool Wait(int milliseconds)
        {
            return _thread.Join(milliseconds);
        }

        private void Read()
        {
            char[] block = new char[4096];
            try
            {
                for (int got; (got = _source.Read(block, 0, block.Length)) > 0;)
                {
                    lock (_text)
                    {
                        _text.Append(block, 0, got);
                    }
                }
            }
            // The pipe is broken, or nobody wants to know any more. What a thread throws would end the whole process.
            catch (Exception)
            {
            }
        }
    }
}
