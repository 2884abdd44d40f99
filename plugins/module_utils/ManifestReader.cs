// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Reads the manifest of an archive as a stream, one file at a time, because it may list a million files. Accepts strict
// JSON in strict UTF-8 only. Anything but a manifest of this collection is an error.

using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Text;
using System.Text.RegularExpressions;

namespace AlteryxOps
{
    public sealed class ManifestProblem : Exception
    {
        public ManifestProblem(string message) : base(message)
        {
        }
    }

    public sealed class ManifestFile
    {
        public string Path;
        public long Bytes = -1;
        public string Sha256;
        /// <summary>UTC, as written in the manifest; "" if the manifest does not have it.</summary>
        public string Modified = "";
    }

    /// <summary>The original path on the node of files of the configuration.</summary>
    public sealed class ManifestItem
    {
        public string Id = "";
        public string Source = "";
        public bool Present;
    }

    public sealed class ManifestCollection
    {
        public string Namespace;
        public long Documents = -1;
        public long Bytes = -1;
        /// <summary>The number of documents that the dump tool reported; -1 if it reported none.</summary>
        public long Reported = -1;
    }

    /// <summary>Call Next until it returns false. The other members are complete only after that.</summary>
    public sealed class ManifestReader
    {
        public const int Schema = 1;

        // A manifest of this collection has a few dozen texts and paths.
        private const int MostTexts = 100;
        private const int MostItems = 10000;

        private readonly JsonPull json;
        private bool begun;
        private bool inFiles;
        private bool hasFiles;
        private long schema = -1;

        public ManifestFile Current { get; private set; }

        /// <summary>The run that made the archive; "" if the manifest does not have it.</summary>
        public string RunId
        {
            get { return Texts.ContainsKey("run_id") ? Texts["run_id"] : ""; }
        }

        public long FileCount = -1;
        public long FileBytes = -1;

        /// <summary>Every text of the manifest and of its section about the database, by name.</summary>
        public readonly Dictionary<string, string> Texts = new Dictionary<string, string>(StringComparer.Ordinal);
        public readonly Dictionary<string, string> DatabaseTexts =
            new Dictionary<string, string>(StringComparer.Ordinal);

        /// <summary>Does the manifest list a dump?</summary>
        public bool HasDatabase;

        /// <summary>The original paths of the configuration files; null if the archive does not have any.</summary>
        public List<ManifestItem> Configuration;

        /// <summary>The collections of the dump; null when the manifest does not list them.</summary>
        public List<ManifestCollection> Collections;

        /// <param name="stream">UTF-8, no byte order mark.</param>
        /// <param name="length">Where it ends.</param>
        public ManifestReader(Stream stream, long length)
        {
            json = new JsonPull(stream, length);
        }

        public bool Next()
        {
            if (!begun)
            {
                begun = true;
                json.Expect('{');
            }
            else if (!inFiles) { return false; }
            if (!inFiles && !Members()) { return false; }
            while (json.Next() == ']')
            {
                inFiles = false;
                if (!Members()) { return false; }
            }
            Current = File();
            return true;
        }

        /// <summary>Reads members of the manifest up to its list of files (true) or its end (false).</summary>
        private bool Members()
        {
            while (json.Next() != '}')
            {
                switch (json.Name)
                {
                    case "schema": schema = json.Whole(); break;
                    case "run_id": Keep(Texts, json.Text()); break;
                    case "file_count": FileCount = json.Whole(); break;
                    case "file_bytes": FileBytes = json.Whole(); break;
                    case "database": Database(); break;
                    case "configuration": Items(); break;
                    case "files":
                        json.Is('[');
                        if (hasFiles) { throw new ManifestProblem("it has two lists of files"); }
                        hasFiles = inFiles = true;
                        return true;
                    default: KeepOrSkip(Texts); break;
                }
            }
            json.End();
            if (schema != Schema)
            {
                throw new ManifestProblem("its schema is " + schema + ", this version knows " + Schema);
            }
            if (!hasFiles) { throw new ManifestProblem("it has no list of files"); }
            return false;
        }

        private ManifestFile File()
        {
            json.Is('{');
            ManifestFile file = new ManifestFile();
            while (json.Next() != '}')
            {
                switch (json.Name)
                {
                    case "path": file.Path = json.Text(); break;
                    case "bytes": file.Bytes = json.Whole(); break;
                    case "sha256": file.Sha256 = json.Text(); break;
                    case "modified": file.Modified = json.Text(); break;
                    default: json.Skip(); break;
                }
            }
            if (file.Path == null || file.Bytes < 0 || file.Sha256 == null)
            {
                throw new ManifestProblem("a file in it lacks path, bytes or sha256");
            }
            return file;
        }

        private void Database()
        {
            if (json.Token == 'n') { return; }
            json.Is('{');
            HasDatabase = true;
            while (json.Next() != '}')
            {
                if (json.Name != "collections")
                {
                    KeepOrSkip(DatabaseTexts);
                    continue;
                }
                json.Is('[');
                Collections = new List<ManifestCollection>();
                while (json.Next() != ']') { Collections.Add(Collection()); }
            }
        }

        private void Items()
        {
            if (json.Token == 'n') { return; }
            json.Is('[');
            Configuration = new List<ManifestItem>();
            while (json.Next() != ']')
            {
                json.Is('{');
                ManifestItem item = new ManifestItem();
                while (json.Next() != '}')
                {
                    switch (json.Name)
                    {
                        case "id": item.Id = json.Text(); break;
                        case "source": item.Source = json.Text(); break;
                        case "present": item.Present = json.Token == 't'; break;
                        default: json.Skip(); break;
                    }
                }
                if (Configuration.Count == MostItems) { throw new ManifestProblem("its configuration is too long"); }
                Configuration.Add(item);
            }
        }

        private void KeepOrSkip(Dictionary<string, string> texts)
        {
            if (json.Token == 's' && texts.Count < MostTexts) { Keep(texts, json.Text()); }
            else { json.Skip(); }
        }

        private void Keep(Dictionary<string, string> texts, string text)
        {
            texts[json.Name] = text;
        }

        private ManifestCollection Collection()
        {
            json.Is('{');
            ManifestCollection collection = new ManifestCollection();
            while (json.Next() != '}')
            {
                switch (json.Name)
                {
                    case "namespace": collection.Namespace = json.Text(); break;
                    case "documents": collection.Documents = json.Whole(); break;
                    case "bytes": collection.Bytes = json.Whole(); break;
                    case "reported": collection.Reported = json.Token == 'n' ? -1 : json.Whole(); break;
                    default: json.Skip(); break;
                }
            }
            if (collection.Namespace == null || collection.Documents < 0)
            {
                throw new ManifestProblem("a collection in it lacks namespace or documents");
            }
            return collection;
        }
    }

    /// <summary>
    /// JSON, token by token: { } [ ] as they are, s for a string, 0 for a number, t, f and n for true, false and null,
    /// $ at the end. Inside an object Next reads the name of a member and the first token of its value.</summary>
    internal sealed class JsonPull
    {
        private const int Deepest = 32;
        private const int LongestText = 1024 * 1024;
        private static readonly Regex Numbers =
            new Regex("^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?$", RegexOptions.CultureInvariant);
        private readonly Stream stream;
        private readonly byte[] buffer = new byte[64 * 1024];
        private int next;
        private int end;
        private long left;
        private long offset;
        // The open objects and arrays, and whether the innermost has something in it.
        private readonly char[] open = new char[Deepest];
        private int depth;
        private bool empty = true;
        private readonly MemoryStream text = new MemoryStream();
        private static readonly UTF8Encoding Utf8 = new UTF8Encoding(false, true);
        // The names in each open object. A name that occurs twice is refused, because readers of JSON differ in which
        // value they take.
        private readonly HashSet<string>[] names = new HashSet<string>[Deepest];

        public char Token { get; private set; }

        public string Name { get; private set; }

        private string value;

        public JsonPull(Stream stream, long length)
        {
            this.stream = stream;
            left = length;
        }

        public char Next()
        {
            int letter = Significant();
            if (depth > 0 && letter == (open[depth - 1] == '{' ? '}' : ']'))
            {
                Take();
                depth--;
                empty = false;
                return Token = (char)letter;
            }
            if (depth == 0 && !empty) { throw Bad("something after its end"); }
            if (!empty)
            {
                if (letter != ',') { throw Bad("no comma"); }
                Take();
                letter = Significant();
            }
            empty = false;
            Name = null;
            if (depth > 0 && open[depth - 1] == '{')
            {
                if (letter != '"') { throw Bad("no name"); }
                Name = String();
                if (!names[depth - 1].Add(Name))
                {
                    throw Bad("the name " + ZipName.Shown(Name) + " twice in one object");
                }
                if (Significant() != ':') { throw Bad("no colon"); }
                Take();
                letter = Significant();
            }
            return Token = Value(letter);
        }

        public void Expect(char token)
        {
            Next();
            Is(token);
        }

        public void Is(char token)
        {
            if (Token != token) { throw Bad("something else where " + token + " is to be"); }
        }

        public string Text()
        {
            Is('s');
            return value;
        }

        public long Whole()
        {
            Is('0');
            long number;
            if (!long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out number))
            {
                throw Bad("a number that is not whole, or too large");
            }
            return number;
        }

        /// <summary>Reads past the value whose first token was read.</summary>
        public void Skip()
        {
            if (Token != '{' && Token != '[') { return; }
            int outer = depth;
            while (depth >= outer) { Next(); }
        }

        /// <summary>Throws if anything but white space follows.</summary>
        public void End()
        {
            if (Significant() != -1) { throw Bad("something after its end"); }
        }

        private char Value(int letter)
        {
            switch (letter)
            {
                case '{':
                case '[':
                    if (depth == Deepest) { throw Bad("too many levels"); }
                    Take();
                    if (letter == '{')
                    {
                        if (names[depth] == null) { names[depth] = new HashSet<string>(StringComparer.Ordinal); }
                        names[depth].Clear();
                    }
                    open[depth++] = (char)letter;
                    empty = true;
                    return (char)letter;
                case '"':
                    value = String();
                    return 's';
                case 't': return Literal("true");
                case 'f': return Literal("false");
                case 'n': return Literal("null");
                default:
                    value = Number();
                    return '0';
            }
        }

        private char Literal(string word)
        {
            foreach (char letter in word)
            {
                if (Peek() != letter) { throw Bad("no value"); }
                Take();
            }
            return word[0];
        }

        private string Number()
        {
            StringBuilder digits = new StringBuilder();
            for (int letter = Peek(); letter >= 0 && "+-.0123456789eE".IndexOf((char)letter) >= 0 && digits.Length < 40;
                letter = Peek())
            {
                digits.Append((char)letter);
                Take();
            }
            string number = digits.ToString();
            if (!Numbers.IsMatch(number)) { throw Bad("no value"); }
            return number;
        }

        private string String()
        {
            Take();
            text.SetLength(0);
            while (true)
            {
                int letter = Peek();
                if (letter < ' ') { throw Bad("a control character, or the end, inside a string"); }
                Take();
                if (letter == '"') { break; }
                if (letter == '\\') { Escape(); }
                else { text.WriteByte((byte)letter); }
                if (text.Length > LongestText) { throw Bad("a string longer than " + LongestText); }
            }
            try { return Utf8.GetString(text.GetBuffer(), 0, (int)text.Length); }
            catch (ArgumentException) { throw Bad("a string that is no UTF-8"); }
        }

        private void Escape()
        {
            int letter = Peek();
            Take();
            int at = letter < 0 ? -1 : "\"\\/bfnrt".IndexOf((char)letter);
            if (at >= 0)
            {
                text.WriteByte((byte)"\"\\/\b\f\n\r\t"[at]);
                return;
            }
            if (letter != 'u') { throw Bad("an unknown escape"); }
            int code = Hex();
            string letters;
            if (code >= 0xD800 && code < 0xDC00)
            {
                if (Peek() != '\\') { throw Bad("half a character"); }
                Take();
                if (Peek() != 'u') { throw Bad("half a character"); }
                Take();
                int low = Hex();
                if (low < 0xDC00 || low > 0xDFFF) { throw Bad("half a character"); }
                letters = char.ConvertFromUtf32(0x10000 + (code - 0xD800 << 10) + (low - 0xDC00));
            }
            else if (code >= 0xDC00 && code < 0xE000) { throw Bad("half a character"); }
            else { letters = ((char)code).ToString(); }
            byte[] bytes = Utf8.GetBytes(letters);
            text.Write(bytes, 0, bytes.Length);
        }

        private int Hex()
        {
            int code = 0;
            for (int i = 0; i < 4; i++)
            {
                int letter = Peek();
                int digit = letter < 0 ? -1 : "0123456789abcdef".IndexOf(char.ToLowerInvariant((char)letter));
                if (digit < 0) { throw Bad("an escape that is not hexadecimal"); }
                Take();
                code = code * 16 + digit;
            }
            return code;
        }

        private int Significant()
        {
            while (true)
            {
                int letter = Peek();
                if (letter != ' ' && letter != '\n' && letter != '\r' && letter != '\t') { return letter; }
                Take();
            }
        }

        private int Peek()
        {
            if (next == end)
            {
                if (left == 0) { return -1; }
                next = 0;
                end = Math.Max(0, stream.Read(buffer, 0, (int)Math.Min(left, buffer.Length)));
                if (end == 0) { throw Bad("too few bytes"); }
                left -= end;
            }
            return buffer[next];
        }

        private void Take()
        {
            next++;
            offset++;
        }

        private ManifestProblem Bad(string what)
        {
            return new ManifestProblem("it has " + what + " (at byte " + offset + ")");
        }
    }
}
