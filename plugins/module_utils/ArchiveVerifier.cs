// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Reads an archive back: every byte of the zip, every entry against the manifest inside, every document of
// the dump, all in one pass.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.IO.Compression;

namespace AlteryxOps
{
    /// <summary>Receives the content of the archive, entry by entry, until the verifier finds a problem.</summary>
    public interface IArchiveSink
    {
        /// <summary>Called before the first entry: the space that all entries need on a drive.</summary>
        void Open(long neededBytes);

        void Begin(ZipRecord entry);

        void Write(byte[] buffer, int offset, int count);

        /// <summary>The entry was good. Modified: UTC, "" if it is not recorded.</summary>
        void End(string modified);
    }

    public sealed class ArchiveVerifier
    {
        public const string ManifestName = "BackupManifest.json";
        private const string DumpFolder = "database/";

        // Marks a collection that could not be read to its end. That problem is already reported.
        private const long Unknown = -1;
        // The number of files of the manifest that are kept in memory if their order is not that of the entries.
        private const int Held = 100000;

        private readonly Func<Stream> opener;
        private readonly Stopwatch sinceTold = Stopwatch.StartNew();
        private readonly Dictionary<string, long> walked = new Dictionary<string, long>(StringComparer.Ordinal);
        private readonly Dictionary<string, long> walkedBytes = new Dictionary<string, long>(StringComparer.Ordinal);
        private ZipReader zip;
        private ManifestReader manifest;
        private Stream manifestStream;
        private bool manifestBroken;
        private long listed;
        private Dictionary<string, ManifestFile> held;

        public readonly ProblemList Problems;

        /// <summary>Entries read, without the manifest; their bytes; documents and collections of the dump.</summary>
        public long Entries { get; private set; }

        public long Bytes { get; private set; }

        public long Documents { get; private set; }

        public int Collections
        {
            get { return walked.Count; }
        }

        /// <summary>SHA-256 of the whole archive, and of the manifest inside ("" when it could not be read).</summary>
        public string ArchiveSha256 { get; private set; }

        public string ManifestSha256 { get; private set; }

        /// <summary>The run ID in the manifest inside the archive; "" if it is not known.</summary>
        public string RunId
        {
            get { return manifest == null ? "" : manifest.RunId; }
        }

        /// <summary>The manifest inside; null when it could not be opened.</summary>
        public ManifestReader Manifest
        {
            get { return manifest; }
        }

        /// <summary>Documents of each collection of the dump, by namespace.</summary>
        public Dictionary<string, long> Walked
        {
            get { return walked; }
        }

        /// <summary>Receives what is read; null if the content is not needed.</summary>
        public IArchiveSink Sink { get; set; }

        /// <summary>Bytes of the archive that were read, and its size. Called at most twice a second.</summary>
        public Action<long, long> Progress { get; set; }

        public ArchiveVerifier(string path, ProblemList problems)
            : this(
                () => new FileStream(
                    path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1,
                    FileOptions.SequentialScan),
                problems)
        {
        }

        public ArchiveVerifier(Func<Stream> opener, ProblemList problems)
        {
            this.opener = opener;
            Problems = problems;
            ArchiveSha256 = ManifestSha256 = "";
        }

        public void Run()
        {
            using (zip = new ZipReader(opener, Problems))
            {
                if (zip.Open())
                {
                    OpenManifest();
                    using (manifestStream)
                    {
                        if (Sink != null && Problems.Total == 0) { Sink.Open(zip.NeededBytes); }
                        while (zip.Next()) { Entry(); }
                        EndManifest();
                    }
                }
                ArchiveSha256 = zip.Complete();
            }
        }

        private void OpenManifest()
        {
            if (zip.Last == null || zip.Last.Name != ManifestName)
            {
                Problems.Add("its last entry is not " + ManifestName);
                manifestBroken = true;
                return;
            }
            Guarded(() =>
            {
                manifestStream = zip.Peek(zip.Last);
                manifest = new ManifestReader(manifestStream, zip.Last.Size);
            });
        }

        private void Entry()
        {
            ZipRecord entry = zip.Current;
            bool isManifest = entry.Name == ManifestName && entry.Offset == zip.Last.Offset;
            string dumped = isManifest ? "" : DumpedNamespace(entry.Name);
            long documents = 0;
            string damage = "";
            bool isKept = Sink != null && Problems.Total == 0 && zip.Content != null;
            if (isKept)
            {
                Sink.Begin(entry);
                zip.Copy = Sink.Write;
            }
            if (dumped != "" && zip.Content != null)
            {
                // Finish reports the same damage once for the whole entry.
                try
                {
                    BsonResult result = Walk(entry, new Told(zip.Content, this));
                    documents = result.Documents;
                    damage = result.Problem;
                }
                catch (InvalidDataException) { damage = "its compressed data are damaged"; }
                catch (ZipProblem problem) { damage = problem.Message; }
            }
            bool good = zip.Finish(count => Tell());
            if (isManifest)
            {
                ManifestSha256 = zip.Sha256;
                if (isKept && Problems.Total == 0) { Sink.End(""); }
                return;
            }
            Entries++;
            if (good) { Bytes += entry.Size; }
            if (dumped != "")
            {
                Documents += documents;
                bool whole = zip.Sha256 != "" && damage == "";
                walked[dumped] = whole ? documents : Unknown;
                walkedBytes[dumped] = entry.Size;
                if (damage != "" && zip.Sha256 != "") { Problems.Add(entry.Name + " is no sound dump: " + damage); }
            }
            ManifestFile file = Compare(entry);
            if (isKept && Problems.Total == 0) { Sink.End(file.Modified); }
        }

        /// <summary>Entries have the order of the manifest. If they do not, the rest of the manifest is kept in memory,
        /// so that every problem can be named. Returns what the manifest says about the entry, or null.</summary>
        private ManifestFile Compare(ZipRecord entry)
        {
            ManifestFile file = null;
            if (!manifestBroken) { Guarded(() => { file = NextOf(entry.Name); }); }
            if (manifestBroken) { return null; }
            if (file == null)
            {
                Problems.Add(entry.Name + " is not in the manifest, or not where the manifest has it");
            }
            else if (file.Bytes != entry.Size)
            {
                Problems.Add(entry.Name + " has " + entry.Size + " bytes, the manifest says " + file.Bytes);
            }
            else if (zip.Sha256 != "" && file.Sha256 != zip.Sha256)
            {
                Problems.Add(entry.Name + " does not have the SHA-256 of the manifest");
            }
            return file;
        }

        private ManifestFile NextOf(string name)
        {
            ManifestFile file;
            if (held == null)
            {
                if (!NextListed()) { return null; }
                if (manifest.Current.Path == name) { return manifest.Current; }
                Problems.Add("where " + name + " is, the manifest has " + ZipName.Shown(manifest.Current.Path));
                held = new Dictionary<string, ManifestFile>(StringComparer.Ordinal);
                do
                {
                    if (held.ContainsKey(manifest.Current.Path))
                    {
                        Problems.Add("the manifest lists " + ZipName.Shown(manifest.Current.Path) + " twice");
                    }
                    held[manifest.Current.Path] = manifest.Current;
                    if (held.Count > Held)
                    {
                        throw new ManifestProblem("it is not in the order of the entries, so the rest is not compared");
                    }
                }
                while (NextListed());
            }
            if (held.TryGetValue(name, out file)) { held.Remove(name); }
            return file;
        }

        private bool NextListed()
        {
            if (!manifest.Next()) { return false; }
            listed++;
            return true;
        }

        private void EndManifest()
        {
            if (manifestBroken) { return; }
            Guarded(() =>
            {
                while (NextListed()) { Missing(manifest.Current.Path); }
                if (held != null)
                {
                    foreach (string path in held.Keys) { Missing(path); }
                }
            });
            if (manifestBroken) { return; }
            if (manifest.FileCount != listed)
            {
                Problems.Add("the manifest counts " + manifest.FileCount + " files and lists " + listed);
            }
            if (Problems.Total == 0 && manifest.FileBytes != Bytes)
            {
                Problems.Add("the manifest counts " + manifest.FileBytes + " bytes, the entries have " + Bytes);
            }
            if (manifest.Collections != null) { CompareCollections(); }
        }

        private void Missing(string path)
        {
            Problems.Add(ZipName.Shown(path) + " of the manifest is not in it");
        }

        private void CompareCollections()
        {
            HashSet<string> known = new HashSet<string>(StringComparer.Ordinal);
            foreach (ManifestCollection collection in manifest.Collections)
            {
                string name = ZipName.Shown(collection.Namespace);
                known.Add(collection.Namespace);
                long documents;
                if (!walked.TryGetValue(collection.Namespace, out documents))
                {
                    Problems.Add("the collection " + name + " of the manifest is not in it");
                    continue;
                }
                if (documents == Unknown) { continue; }
                if (documents != collection.Documents)
                {
                    Problems.Add(name + " has " + documents + " documents, the manifest says " + collection.Documents);
                }
                if (collection.Bytes >= 0 && collection.Bytes != walkedBytes[collection.Namespace])
                {
                    Problems.Add(name + " has " + walkedBytes[collection.Namespace] + " bytes, the manifest says "
                        + collection.Bytes);
                }
                if (collection.Reported >= 0 && documents != collection.Reported)
                {
                    Problems.Add(
                        name + " has " + documents + " documents, the tool that dumped it said " + collection.Reported);
                }
            }
            foreach (string name in walked.Keys)
            {
                if (!known.Contains(name))
                {
                    Problems.Add("the collection " + ZipName.Shown(name) + " is not in the manifest");
                }
            }
        }

        /// <summary>Runs an action on the manifest. A problem of the manifest is reported only once.</summary>
        private void Guarded(Action action)
        {
            string problem;
            try
            {
                action();
                return;
            }
            catch (ManifestProblem found) { problem = found.Message; }
            catch (ZipProblem found) { problem = found.Message; }
            catch (InvalidDataException) { problem = "its compressed data are damaged"; }
            Problems.Add("the manifest cannot be read: " + problem);
            manifestBroken = true;
        }

        private static BsonResult Walk(ZipRecord entry, Stream content)
        {
            if (!entry.Name.EndsWith(".gz", StringComparison.Ordinal)) { return BsonWalker.Walk(content); }
            using (GzipContent unpacked = new GzipContent(content, entry.Size))
            {
                BsonResult result = BsonWalker.Walk(unpacked);
                if (result.Problem == "") { result.Problem = unpacked.End(); }
                return result;
            }
        }

        /// <summary>The collection that an entry holds; "" if the entry does not hold a collection.</summary>
        public static string DumpedNamespace(string name)
        {
            if (!name.StartsWith(DumpFolder, StringComparison.Ordinal)) { return ""; }
            string path = name.Substring(DumpFolder.Length);
            if (path.EndsWith(".gz", StringComparison.Ordinal)) { path = path.Substring(0, path.Length - 3); }
            if (!path.EndsWith(".bson", StringComparison.Ordinal)) { return ""; }
            // mongodump percent-encodes what a file name may not hold.
            string[] parts = path.Substring(0, path.Length - 5).Split('/');
            for (int i = 0; i < parts.Length; i++) { parts[i] = Uri.UnescapeDataString(parts[i]); }
            return string.Join(".", parts);
        }

        private void Tell()
        {
            if (Progress == null || sinceTold.ElapsedMilliseconds < 500) { return; }
            sinceTold.Restart();
            Progress(zip.Position, zip.Length);
        }

        /// <summary>Reports the progress at every read.</summary>
        private sealed class Told : ReadOnce
        {
            private readonly Stream stream;
            private readonly ArchiveVerifier verifier;

            public Told(Stream stream, ArchiveVerifier verifier)
            {
                this.stream = stream;
                this.verifier = verifier;
            }

            public override int Read(byte[] buffer, int offset, int count)
            {
                verifier.Tell();
                return stream.Read(buffer, offset, count);
            }
        }
    }

    /// <summary>Checks the content of a .gz: one member, as mongodump writes it, with its checksum and
    /// length.</summary>
    internal sealed class GzipContent : ReadOnce
    {
        private readonly Stream content;
        private readonly DeflateStream stream;
        private readonly Body body;
        private uint crc;
        private uint length;

        public GzipContent(Stream content, long size)
        {
            this.content = content;
            byte[] header = Take(10);
            if (header[0] != 0x1f || header[1] != 0x8b || header[2] != 8 || (header[3] & ~8) != 0)
            {
                throw new ZipProblem("it is not what gzip writes");
            }
            long left = size - 18;
            if ((header[3] & 8) != 0)
            {
                // The name of the file.
                do { left--; } while (Take(1)[0] != 0);
            }
            body = new Body(content, left);
            stream = new DeflateStream(body, CompressionMode.Decompress, true);
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            int got = stream.Read(buffer, offset, count);
            crc = ZipCrc.Update(crc, buffer, offset, got);
            length = unchecked(length + (uint)got);
            return got;
        }

        /// <summary>"" when checksum and length of what was read are right and nothing follows.</summary>
        public string End()
        {
            if (Read(new byte[1], 0, 1) != 0 || body.Left != 0)
            {
                return "its compressed data end before their length says";
            }
            byte[] trailer = Take(8);
            return Le.U32(trailer, 0) == crc && Le.U32(trailer, 4) == length
                ? ""
                : "its bytes do not have the CRC-32 and length that gzip noted";
        }

        private byte[] Take(int count)
        {
            byte[] bytes = new byte[count];
            int have = 0;
            while (have < count)
            {
                int got = content.Read(bytes, have, count - have);
                if (got == 0) { throw new ZipProblem("it ends inside what gzip notes"); }
                have += got;
            }
            return bytes;
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing) { stream.Dispose(); }
            base.Dispose(disposing);
        }

        /// <summary>The compressed bytes, the last one alone, as in ZipLimited.</summary>
        private sealed class Body : ReadOnce
        {
            private readonly Stream content;

            public long Left { get; private set; }

            public Body(Stream content, long length)
            {
                this.content = content;
                Left = length;
            }

            public override int Read(byte[] buffer, int offset, int count)
            {
                if (Left <= 0) { return 0; }
                if (count >= Left) { count = (int)Math.Max(1, Left - 1); }
                int got = content.Read(buffer, offset, count);
                Left -= got;
                return got;
            }
        }
    }
}
