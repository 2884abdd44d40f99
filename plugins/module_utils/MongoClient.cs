// Copyright (c) alteryx_ops.server_backup contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A client of one MongoDB server, for what a restore needs: list databases and collections, count documents, name the
// user who is logged in, and drop a database. Servers from 3.0 on: those before 3.6 (wire version 6) are asked with
// OP_QUERY, later ones with OP_MSG. Every wait has a limit and calls Tick up to ten times a second. The client does not
// catch what Tick throws. No exception contains a password.

using System;
using System.Collections.Generic;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.RegularExpressions;

namespace AlteryxOps
{
    public enum MongoFailure
    {
        /// <summary>No connection, or it broke.</summary>
        Network,
        Timeout,
        /// <summary>The certificate of the server is not accepted.</summary>
        Trust,
        Authentication,
        /// <summary>The server answered with an error.</summary>
        Refused,
        /// <summary>The answer breaks the protocol.</summary>
        Malformed
    }

    public sealed class MongoProblem : Exception
    {
        public readonly MongoFailure Kind;
        /// <summary>The number of the error that the server gave; 0 where it gave none.</summary>
        public readonly int Code;

        public MongoProblem(MongoFailure kind, string message) : this(kind, message, 0, null)
        {
        }

        public MongoProblem(MongoFailure kind, string message, int code, Exception cause) : base(message, cause)
        {
            Kind = kind;
            Code = code;
        }
    }

    public sealed class MongoAddress
    {
        public string Host = "127.0.0.1";
        public int Port = 27017;
        public bool Tls;
        /// <summary>A file of certificates (PEM or DER), one of which must have issued the certificate of the server;
        /// "" for the certificates that Windows trusts.</summary>
        public string CaFile = "";
        public int ConnectMilliseconds = 10000;
        /// <summary>The longest wait for one answer.</summary>
        public int ReadMilliseconds = 60000;
        public Action Tick;
    }

    public sealed class MongoServer
    {
        public int MaxWireVersion;
        /// <summary>A standalone server or the primary of a replica set.</summary>
        public bool IsWritable;
        /// <summary>The replica set, "" for none, and its primary as host:port, "" where it is not known.</summary>
        public string SetName = "";
        public string Primary = "";
    }

    public sealed class MongoDatabase
    {
        public string Name;
        public long Bytes;
        public bool IsEmpty;
    }

    public sealed class MongoCollection
    {
        public string Name;
        /// <summary>One of collection, view and timeseries.</summary>
        public string Type;
    }

    public sealed class MongoValidation
    {
        public bool IsValid;
        public long Records;
        public string[] Errors;
        public string[] Warnings;
    }

    public sealed class MongoPrivilege
    {
        /// <summary>"" means each database, each collection.</summary>
        public string Database = "";
        public string Collection = "";
        public bool IsCluster;
        public bool IsAnyResource;
        public string[] Actions;
    }

    /// <summary>Who is logged in. Users and roles as database.name.</summary>
    public sealed class MongoIdentity
    {
        public string[] Users;
        public string[] Roles;
        public MongoPrivilege[] Privileges;
    }

    public sealed class MongoClient : IDisposable
    {
        private const int TickMilliseconds = 100;
        private const int MostCollections = 1000000;
        private static readonly string[] OwnDatabases = { "admin", "config", "local" };
        private readonly MongoWire wire;
        // Servers before 4.4.2 know the command only by its old name.
        private string greeting = "isMaster";

        /// <summary>What the server reported about itself when the connection was opened.</summary>
        public MongoServer Server { get; private set; }

        /// <summary>The longest wait for one answer, from now on.</summary>
        public int ReadMilliseconds
        {
            get { return wire.ReadMilliseconds; }
            set { wire.ReadMilliseconds = value; }
        }

        private MongoClient(MongoWire wire)
        {
            this.wire = wire;
        }

        public static MongoClient Connect(MongoAddress address)
        {
            MongoClient client = new MongoClient(MongoWire.Connect(address, TickMilliseconds));
            try
            {
                // Every server understands this greeting in an OP_QUERY, also those that refuse anything else in one.
                BsonMap reply = client.wire.Ask(
                    "admin", new BsonMap().Add("isMaster", 1).Add("helloOk", true), false);
                client.Server = Describe(reply);
                client.greeting = True(reply, "helloOk") ? "hello" : "isMaster";
                client.wire.UsesMessages = client.Server.MaxWireVersion >= 6;
                if (client.Server.MaxWireVersion < 3)
                {
                    throw new MongoProblem(MongoFailure.Refused, "the server is older than MongoDB 3.0");
                }
                return client;
            }
            catch
            {
                client.Dispose();
                throw;
            }
        }

        public override string ToString()
        {
            return wire.Shown;
        }

        public void Dispose()
        {
            wire.Dispose();
        }

        /// <summary>Logs in. Mechanism: SCRAM-SHA-256 or SCRAM-SHA-1; "" for the best that the server offers.</summary>
        public void Authenticate(string user, string password, string source, string mechanism)
        {
            string chosen = mechanism.Length > 0 ? mechanism : ChooseMechanism(user, source);
            using (ScramExchange exchange = new ScramExchange(chosen, user, password))
            {
                BsonMap command = new BsonMap().Add("saslStart", 1).Add("mechanism", chosen);
                command.Add("payload", exchange.Begin());
                bool proved = false;
                // The client answers twice, and once more with an empty message for servers that report done only after
                // that.
                for (int step = 0; step < 4; step++)
                {
                    BsonMap reply = AskLogin(source, command);
                    byte[] answer = new byte[0];
                    if (!proved)
                    {
                        byte[] payload = reply.Get("payload") as byte[];
                        answer = exchange.Answer(payload ?? new byte[0], out proved);
                    }
                    if (True(reply, "done"))
                    {
                        if (proved) { return; }
                        break;
                    }
                    command = new BsonMap().Add("saslContinue", 1);
                    command.Add("conversationId", reply.Get("conversationId")).Add("payload", answer);
                }
                throw new MongoProblem(MongoFailure.Malformed, "the server ends the log-in without its proof");
            }
        }

        /// <summary>Asks the server again for its state, such as primary or secondary.</summary>
        public MongoServer Hello()
        {
            Server = Describe(Greet(null));
            return Server;
        }

        public MongoDatabase[] ListDatabases()
        {
            List<MongoDatabase> found = new List<MongoDatabase>();
            BsonMap reply = wire.Ask("admin", new BsonMap().Add("listDatabases", 1));
            foreach (object item in List(reply, "databases"))
            {
                BsonMap entry = Map(item, "databases");
                found.Add(new MongoDatabase
                {
                    Name = Text(entry, "name"),
                    Bytes = Number(entry, "sizeOnDisk", 0),
                    IsEmpty = True(entry, "empty")
                });
            }
            return found.ToArray();
        }

        /// <summary>Everything in a database, system collections and views too.</summary>
        public MongoCollection[] ListCollections(string database)
        {
            List<MongoCollection> found = new List<MongoCollection>();
            BsonMap command = new BsonMap().Add("listCollections", 1).Add("cursor", new BsonMap());
            string batch = "firstBatch";
            while (true)
            {
                BsonMap cursor = Map(wire.Ask(database, command).Get("cursor"), "cursor");
                foreach (object item in List(cursor, batch)) { found.Add(Collection(Map(item, batch))); }
                long more = Number(cursor, "id", -1);
                if (more == 0) { return found.ToArray(); }
                if (found.Count > MostCollections)
                {
                    throw new MongoProblem(
                        MongoFailure.Refused, database + " has more than " + MostCollections + " collections");
                }
                string name = Text(cursor, "ns");
                name = name.Substring(Math.Min(name.Length, database.Length + 1));
                command = new BsonMap().Add("getMore", more).Add("collection", name);
                batch = "nextBatch";
            }
        }

        /// <summary>Documents of a collection, counted one by one, because the number that a server stores is wrong
        /// after the server was killed.</summary>
        public long Count(string database, string collection)
        {
            // Without a query the server returns its stored number. This query matches every document.
            BsonMap every = new BsonMap().Add("_id", new BsonMap().Add("$gte", BsonMark.Least));
            BsonMap reply = wire.Ask(database, new BsonMap().Add("count", collection).Add("query", every));
            long count = Number(reply, "n", -1);
            if (count < 0) { throw new MongoProblem(MongoFailure.Malformed, "an answer to count has no number"); }
            return count;
        }

        /// <summary>Checks a collection and its indexes. With full everything in it is read.</summary>
        public MongoValidation Validate(string database, string collection, bool full)
        {
            BsonMap reply = wire.Ask(database, new BsonMap().Add("validate", collection).Add("full", full));
            if (!(reply.Get("valid") is bool))
            {
                throw new MongoProblem(MongoFailure.Malformed, "an answer to validate has no verdict");
            }
            return new MongoValidation
            {
                IsValid = True(reply, "valid"),
                Records = Number(reply, "nrecords", -1),
                Errors = Texts(reply, "errors"),
                Warnings = Texts(reply, "warnings")
            };
        }

        public MongoIdentity ConnectionStatus()
        {
            BsonMap command = new BsonMap().Add("connectionStatus", 1).Add("showPrivileges", true);
            BsonMap said = Map(wire.Ask("admin", command).Get("authInfo"), "authInfo");
            List<MongoPrivilege> privileges = new List<MongoPrivilege>();
            foreach (object item in List(said, "authenticatedUserPrivileges"))
            {
                BsonMap entry = Map(item, "authenticatedUserPrivileges");
                BsonMap resource = Map(entry.Get("resource"), "resource");
                privileges.Add(new MongoPrivilege
                {
                    Database = resource.Get("db") as string ?? "",
                    Collection = resource.Get("collection") as string ?? "",
                    IsCluster = True(resource, "cluster"),
                    IsAnyResource = True(resource, "anyResource"),
                    Actions = Texts(entry, "actions")
                });
            }
            return new MongoIdentity
            {
                Users = Qualified(said, "authenticatedUsers", "user"),
                Roles = Qualified(said, "authenticatedUserRoles", "role"),
                Privileges = privileges.ToArray()
            };
        }

        public void DropDatabase(string database)
        {
            if (Array.IndexOf(OwnDatabases, database) >= 0)
            {
                throw new MongoProblem(MongoFailure.Refused, "the database " + database + " is never dropped");
            }
            wire.Ask(database, new BsonMap().Add("dropDatabase", 1));
        }

        private BsonMap Greet(string mechanismsOf)
        {
            BsonMap command = new BsonMap().Add(greeting, 1);
            if (mechanismsOf != null) { command.Add("saslSupportedMechs", mechanismsOf); }
            return wire.Ask("admin", command);
        }

        private string ChooseMechanism(string user, string source)
        {
            string[] offered = Texts(Greet(source + "." + user), "saslSupportedMechs");
            if (Array.IndexOf(offered, ScramExchange.Sha256) >= 0) { return ScramExchange.Sha256; }
            if (Array.IndexOf(offered, ScramExchange.Sha1) >= 0) { return ScramExchange.Sha1; }
            // Servers before 4.0 do not report this, and later ones report nothing about a user that they do not know.
            return Server.MaxWireVersion >= 7 ? ScramExchange.Sha256 : ScramExchange.Sha1;
        }

        private BsonMap AskLogin(string source, BsonMap command)
        {
            try { return wire.Ask(source, command); }
            catch (MongoProblem problem)
            {
                if (problem.Kind != MongoFailure.Refused) { throw; }
                throw new MongoProblem(
                    MongoFailure.Authentication, "the log-in failed: " + problem.Message, problem.Code, problem);
            }
        }

        private static MongoServer Describe(BsonMap reply)
        {
            return new MongoServer
            {
                MaxWireVersion = (int)Number(reply, "maxWireVersion", 0),
                IsWritable = True(reply, "ismaster") || True(reply, "isWritablePrimary"),
                SetName = reply.Get("setName") as string ?? "",
                Primary = reply.Get("primary") as string ?? ""
            };
        }

        private static MongoCollection Collection(BsonMap entry)
        {
            BsonMap options = entry.Get("options") as BsonMap;
            string type = entry.Get("type") as string;
            // Servers before 3.4 have no type.
            if (type == null) { type = options != null && options.Get("viewOn") != null ? "view" : "collection"; }
            return new MongoCollection { Name = Text(entry, "name"), Type = type };
        }

        private static string[] Qualified(BsonMap reply, string name, string member)
        {
            List<string> found = new List<string>();
            foreach (object item in List(reply, name))
            {
                BsonMap entry = Map(item, name);
                found.Add(Text(entry, "db") + "." + Text(entry, member));
            }
            return found.ToArray();
        }

        private static BsonMap Map(object value, string name)
        {
            BsonMap found = value as BsonMap;
            if (found == null) { throw new MongoProblem(MongoFailure.Malformed, "an answer has no document " + name); }
            return found;
        }

        private static List<object> List(BsonMap reply, string name)
        {
            List<object> found = reply.Get(name) as List<object>;
            if (found == null) { throw new MongoProblem(MongoFailure.Malformed, "an answer has no list " + name); }
            return found;
        }

        private static string Text(BsonMap reply, string name)
        {
            string found = reply.Get(name) as string;
            if (found == null) { throw new MongoProblem(MongoFailure.Malformed, "an answer has no text " + name); }
            return found;
        }

        private static string[] Texts(BsonMap reply, string name)
        {
            List<string> found = new List<string>();
            List<object> items = reply.Get(name) as List<object>;
            if (items != null)
            {
                foreach (object item in items)
                {
                    string text = item as string;
                    if (text != null) { found.Add(text); }
                }
            }
            return found.ToArray();
        }

        internal static bool True(BsonMap reply, string name)
        {
            object value = reply.Get(name);
            return value is bool && (bool)value;
        }

        /// <summary>A whole number, whichever type the server sends it in.</summary>
        internal static long Number(BsonMap reply, string name, long absent)
        {
            object value = reply.Get(name);
            if (value is int) { return (int)value; }
            if (value is long) { return (long)value; }
            if (value is double)
            {
                double number = (double)value;
                // Above that not every whole number is a double.
                bool whole = Math.Floor(number).Equals(number);
                if (whole && Math.Abs(number) <= 9007199254740992.0) { return (long)number; }
            }
            return absent;
        }
    }

    /// <summary>The connection: commands and answers as messages.</summary>
    internal sealed class MongoWire : IDisposable
    {
        private const int LargestMessage = 48000000;
        private const int OpReply = 1;
        private const int OpQuery = 2004;
        private const int OpMsg = 2013;
        private readonly MongoAddress address;
        private readonly int tickMilliseconds;
        private readonly Stopwatch sinceTick = Stopwatch.StartNew();
        private Socket socket;
        private Stream stream;
        private int lastRequest;
        private string distrust = "";

        public bool UsesMessages;
        public int ReadMilliseconds;

        private MongoWire(MongoAddress address, int tickMilliseconds)
        {
            this.address = address;
            this.tickMilliseconds = tickMilliseconds;
            ReadMilliseconds = address.ReadMilliseconds;
        }

        public static MongoWire Connect(MongoAddress address, int tickMilliseconds)
        {
            MongoWire wire = new MongoWire(address, tickMilliseconds);
            try
            {
                wire.Open();
                return wire;
            }
            catch
            {
                wire.Dispose();
                throw;
            }
        }

        public string Shown
        {
            get { return address.Host + ":" + address.Port.ToString(CultureInfo.InvariantCulture); }
        }

        public void Dispose()
        {
            if (stream != null) { stream.Dispose(); }
            if (socket != null) { socket.Close(); }
            stream = null;
            socket = null;
        }

        public BsonMap Ask(string database, BsonMap command)
        {
            return Ask(database, command, UsesMessages);
        }

        /// <summary>Sends a command and returns the answer, if that is not an error.</summary>
        public BsonMap Ask(string database, BsonMap command, bool asMessage)
        {
            if (stream == null) { throw new MongoProblem(MongoFailure.Network, "the connection is closed"); }
            if (sinceTick.ElapsedMilliseconds >= tickMilliseconds) { Tick(); }
            int request = ++lastRequest;
            byte[] sent;
            try { sent = asMessage ? Message(request, database, command) : Query(request, database, command); }
            catch (Exception problem)
            {
                if (!(problem is BsonMistake || problem is ArgumentException)) { throw; }
                throw new MongoProblem(
                    MongoFailure.Refused, command.NameAt(0) + " cannot be sent: " + problem.Message, 0, problem);
            }
            BsonMap reply;
            try { reply = Exchange(request, sent, asMessage); }
            catch
            {
                // The client would take the rest of this answer for the answer to the next command.
                Dispose();
                throw;
            }
            object ok = reply.Get("ok");
            if (ok == null && reply.Get("$err") == null)
            {
                throw new MongoProblem(MongoFailure.Malformed, Shown + " sent an answer without the field ok");
            }
            if (MongoClient.Number(reply, "ok", 0) == 1 || MongoClient.True(reply, "ok")) { return reply; }
            string message = reply.Get("errmsg") as string ?? reply.Get("$err") as string ?? "no reason";
            int code = (int)MongoClient.Number(reply, "code", 0);
            message = Regex.Replace(message, "[\\x00-\\x1f]+", " ");
            if (message.Length > 500) { message = message.Substring(0, 500); }
            message = command.NameAt(0) + " was refused: " + message + " (code " + code + ")";
            throw new MongoProblem(MongoFailure.Refused, message, code, null);
        }

        private BsonMap Exchange(int request, byte[] sent, bool asMessage)
        {
            Stopwatch watch = Stopwatch.StartNew();
            Wait(Begin(delegate { return stream.BeginWrite(sent, 0, sent.Length, null, null); }), watch,
                ReadMilliseconds, "takes no command");
            Finish(delegate(IAsyncResult result) { stream.EndWrite(result); });
            byte[] head = Read(16, watch);
            int length = BitConverter.ToInt32(head, 0);
            if (length < 21 || length > LargestMessage)
            {
                throw Malformed("a message of " + length + " bytes");
            }
            if (BitConverter.ToInt32(head, 8) != request) { throw Malformed("an answer to another command"); }
            int kind = BitConverter.ToInt32(head, 12);
            if (kind != (asMessage ? OpMsg : OpReply)) { throw Malformed("a message of the kind " + kind); }
            byte[] body = Read(length - 16, watch);
            try { return asMessage ? ReadMessage(body) : ReadReply(body); }
            catch (BsonMistake mistake) { throw Malformed(mistake.Message); }
        }

        private static byte[] Message(int request, string database, BsonMap command)
        {
            command.Set("$db", database);
            BsonWriter writer = Head(request, OpMsg);
            writer.Int32(0);
            writer.Byte(0);
            writer.Map(command);
            return Finished(writer);
        }

        private static byte[] Query(int request, string database, BsonMap command)
        {
            BsonWriter writer = Head(request, OpQuery);
            writer.Int32(0);
            writer.Name(database + ".$cmd");
            writer.Int32(0);
            writer.Int32(-1);
            writer.Map(command);
            return Finished(writer);
        }

        private static byte[] Finished(BsonWriter writer)
        {
            byte[] message = writer.ToArray();
            Buffer.BlockCopy(BitConverter.GetBytes(message.Length), 0, message, 0, 4);
            return message;
        }

        private static BsonWriter Head(int request, int kind)
        {
            BsonWriter writer = new BsonWriter();
            // Room for the length.
            writer.Int32(0);
            writer.Int32(request);
            writer.Int32(0);
            writer.Int32(kind);
            return writer;
        }

        private static BsonMap ReadMessage(byte[] body)
        {
            int flags = BitConverter.ToInt32(body, 0);
            int end = body.Length;
            // A checksum of four bytes follows. It is not checked, because TCP and TLS check the data already.
            if ((flags & 1) != 0) { end -= 4; }
            if ((flags & 0xFFFE) != 0) { throw new BsonMistake("a message with the flags " + flags); }
            if (body[4] != 0) { throw new BsonMistake("a message that does not begin with its document"); }
            return BsonReader.Read(body, 5, end);
        }

        private static BsonMap ReadReply(byte[] body)
        {
            if (body.Length < 25) { throw new BsonMistake("an answer of " + body.Length + " bytes"); }
            int count = BitConverter.ToInt32(body, 16);
            if (count != 1) { throw new BsonMistake("an answer of " + count + " documents"); }
            return BsonReader.Read(body, 20, body.Length);
        }

        private byte[] Read(int count, Stopwatch watch)
        {
            byte[] buffer = new byte[count];
            for (int got = 0; got < count;)
            {
                int from = got;
                Wait(Begin(delegate { return stream.BeginRead(buffer, from, count - from, null, null); }), watch,
                    ReadMilliseconds, "does not answer");
                int read = 0;
                Finish(delegate(IAsyncResult result) { read = stream.EndRead(result); });
                if (read <= 0)
                {
                    throw new MongoProblem(MongoFailure.Network, Shown + " closed the connection");
                }
                got += read;
            }
            return buffer;
        }

        private void Open()
        {
            Stopwatch watch = Stopwatch.StartNew();
            IPAddress[] found = null;
            IPAddress literal;
            if (IPAddress.TryParse(address.Host, out literal)) { found = new[] { literal }; }
            else
            {
                Wait(Begin(delegate { return Dns.BeginGetHostAddresses(address.Host, null, null); }), watch,
                    address.ConnectMilliseconds, "is not found");
                Finish(delegate(IAsyncResult result) { found = Dns.EndGetHostAddresses(result); });
            }
            MongoProblem last = new MongoProblem(MongoFailure.Network, Shown + " has no address");
            foreach (IPAddress each in found)
            {
                try
                {
                    Reach(each, watch);
                    last = null;
                    break;
                }
                catch (MongoProblem problem)
                {
                    last = problem;
                    Dispose();
                }
            }
            if (last != null) { throw last; }
            socket.NoDelay = true;
            stream = new NetworkStream(socket, true);
            if (address.Tls) { Secure(watch); }
        }

        private void Reach(IPAddress target, Stopwatch watch)
        {
            socket = new Socket(target.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            Wait(Begin(delegate { return socket.BeginConnect(target, address.Port, null, null); }), watch,
                address.ConnectMilliseconds, "cannot be reached");
            Finish(delegate(IAsyncResult result) { socket.EndConnect(result); });
        }

        private void Secure(Stopwatch watch)
        {
            X509Certificate2Collection issuers = ReadCertificates(address.CaFile);
            SslStream secured = new SslStream(stream, false,
                delegate(object sender, X509Certificate certificate, X509Chain chain, SslPolicyErrors errors)
                {
                    distrust = Doubt(certificate, chain, errors, issuers);
                    return distrust.Length == 0;
                });
            stream = secured;
            // Otherwise no server is accepted whose list of revoked certificates cannot be downloaded.
            Wait(
                Begin(delegate
                {
                    return secured.BeginAuthenticateAsClient(
                        address.Host, null, SslProtocols.Tls12, false, null, null);
                }),
                watch, address.ConnectMilliseconds, "does not finish the TLS handshake");
            Finish(delegate(IAsyncResult result) { secured.EndAuthenticateAsClient(result); });
        }

        /// <summary>Why the certificate of the server is not accepted; "" if it is accepted.</summary>
        private string Doubt(
            X509Certificate certificate, X509Chain chain, SslPolicyErrors errors, X509Certificate2Collection issuers)
        {
            if (certificate == null) { return "the server shows no certificate"; }
            if ((errors & SslPolicyErrors.RemoteCertificateNameMismatch) != 0)
            {
                if (!IsFor(new X509Certificate2(certificate), address.Host))
                {
                    return "the certificate of the server is not for " + address.Host;
                }
                errors &= ~SslPolicyErrors.RemoteCertificateNameMismatch;
            }
            if (issuers.Count == 0)
            {
                return errors == SslPolicyErrors.None ? "" : "Windows does not trust the certificate: " + Say(chain);
            }
            X509Chain own = new X509Chain();
            own.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            own.ChainPolicy.VerificationFlags = X509VerificationFlags.AllowUnknownCertificateAuthority;
            own.ChainPolicy.ApplicationPolicy.Add(new Oid("1.3.6.1.5.5.7.3.1"));
            own.ChainPolicy.ExtraStore.AddRange(issuers);
            foreach (X509ChainElement element in chain.ChainElements)
            {
                own.ChainPolicy.ExtraStore.Add(element.Certificate);
            }
            own.Build(new X509Certificate2(certificate));
            foreach (X509ChainStatus status in own.ChainStatus)
            {
                // Whether the chain ends at a certificate of the CA file is checked below.
                X509ChainStatusFlags rest =
                    status.Status & ~(X509ChainStatusFlags.UntrustedRoot | X509ChainStatusFlags.PartialChain);
                if (rest != X509ChainStatusFlags.NoError) { return "the certificate is not valid: " + Say(own); }
            }
            foreach (X509ChainElement element in own.ChainElements)
            {
                if (issuers.Contains(element.Certificate)) { return ""; }
            }
            return "no certificate in " + address.CaFile + " has issued that of the server";
        }

        /// <summary>Is this IP address in the certificate? Older versions of Windows compare only names.</summary>
        private static bool IsFor(X509Certificate2 certificate, string host)
        {
            IPAddress literal;
            X509Extension names = certificate.Extensions["2.5.29.17"];
            if (names == null || !IPAddress.TryParse(host, out literal)) { return false; }
            string wanted = BitConverter.ToString(literal.GetAddressBytes());
            byte[] bytes = names.RawData;
            int at = 1;
            int end = Length(bytes, ref at) + at;
            while (at < end && end <= bytes.Length)
            {
                byte tag = bytes[at++];
                int length = Length(bytes, ref at);
                if (length < 0 || length > end - at) { return false; }
                // An address is the seventh kind of name.
                if (tag == 0x87 && BitConverter.ToString(bytes, at, length) == wanted) { return true; }
                at += length;
            }
            return false;
        }

        /// <summary>A length in DER: one byte, or a byte with the number of length bytes and then these; -1 if it is
        /// invalid.</summary>
        private static int Length(byte[] bytes, ref int at)
        {
            if (at >= bytes.Length) { return -1; }
            int first = bytes[at++];
            if (first < 0x80) { return first; }
            int count = first & 0x7F;
            if (count < 1 || count > 2 || at + count > bytes.Length) { return -1; }
            int length = 0;
            for (; count > 0; count--) { length = length << 8 | bytes[at++]; }
            return length;
        }

        private static string Say(X509Chain chain)
        {
            List<string> said = new List<string>();
            foreach (X509ChainStatus status in chain.ChainStatus) { said.Add(status.Status.ToString()); }
            return string.Join(", ", said.ToArray());
        }

        private static X509Certificate2Collection ReadCertificates(string path)
        {
            X509Certificate2Collection found = new X509Certificate2Collection();
            if (path.Length == 0) { return found; }
            try
            {
                byte[] content = File.ReadAllBytes(path);
                MatchCollection parts = Regex.Matches(
                    Encoding.ASCII.GetString(content),
                    "-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----");
                foreach (Match part in parts)
                {
                    found.Add(new X509Certificate2(Convert.FromBase64String(part.Groups[1].Value)));
                }
                if (found.Count == 0) { found.Add(new X509Certificate2(content)); }
            }
            catch (Exception problem)
            {
                throw new MongoProblem(
                    MongoFailure.Trust, path + " cannot be read as certificates: " + problem.Message, 0, problem);
            }
            return found;
        }

        private IAsyncResult pending;

        private delegate IAsyncResult Starter();

        private IAsyncResult Begin(Starter start)
        {
            pending = null;
            Guarded(delegate { pending = start(); });
            return pending;
        }

        private void Finish(AsyncCallback end)
        {
            Guarded(delegate { end(pending); });
        }

        /// <summary>Turns every exception of the network into one type.</summary>
        private void Guarded(Action action)
        {
            try { action(); }
            catch (Exception problem)
            {
                // What TLS throws when the certificate was not accepted depends on the system.
                if (distrust.Length > 0)
                {
                    throw new MongoProblem(MongoFailure.Trust, Shown + ": " + distrust, 0, problem);
                }
                // A SocketException is a Win32Exception, and so is the exception for a failed TLS handshake.
                if (problem is IOException || problem is Win32Exception || problem is ObjectDisposedException
                    || problem is AuthenticationException)
                {
                    throw new MongoProblem(MongoFailure.Network, Shown + ": " + problem.Message, 0, problem);
                }
                throw;
            }
        }

        private void Wait(IAsyncResult result, Stopwatch watch, int milliseconds, string trouble)
        {
            while (true)
            {
                long left = milliseconds - watch.ElapsedMilliseconds;
                if (result.AsyncWaitHandle.WaitOne((int)Math.Max(0, Math.Min(tickMilliseconds, left)))) { return; }
                Tick();
                if (left <= 0)
                {
                    throw new MongoProblem(
                        MongoFailure.Timeout, Shown + " " + trouble + " within " + milliseconds + " ms");
                }
            }
        }

        private void Tick()
        {
            sinceTick.Restart();
            if (address.Tick != null) { address.Tick(); }
        }

        private MongoProblem Malformed(string what)
        {
            return new MongoProblem(MongoFailure.Malformed, Shown + " sent something that is no answer: " + what);
        }
    }

    /// <summary>One log-in by SCRAM (RFC 5802, 7677).</summary>
    internal sealed class ScramExchange : IDisposable
    {
        public const string Sha1 = "SCRAM-SHA-1";
        public const string Sha256 = "SCRAM-SHA-256";
        private const int FewestRounds = 4096;
        // A server asks for 15000. More than this would take a minute.
        private const int MostRounds = 1000000;
        private readonly bool strong;
        private readonly byte[] secret;
        private readonly string nonce;
        private readonly string opening;
        private byte[] expected;

        public ScramExchange(string mechanism, string user, string password)
        {
            if (mechanism != Sha1 && mechanism != Sha256)
            {
                throw new MongoProblem(MongoFailure.Authentication, mechanism + " is no mechanism that is known here");
            }
            strong = mechanism == Sha256;
            secret = strong ? Encoding.UTF8.GetBytes(PreparedText.Prepare(password)) : Digest(user, password);
            byte[] random = new byte[24];
            using (RNGCryptoServiceProvider source = new RNGCryptoServiceProvider()) { source.GetBytes(random); }
            nonce = Convert.ToBase64String(random);
            opening = "n=" + user.Replace("=", "=3D").Replace(",", "=2C") + ",r=" + nonce;
        }

        public void Dispose()
        {
            Array.Clear(secret, 0, secret.Length);
        }

        public byte[] Begin()
        {
            return Encoding.UTF8.GetBytes("n,," + opening);
        }

        /// <summary>The next message of the client. proved becomes true when the server has proved that it knows the
        /// password.</summary>
        public byte[] Answer(byte[] payload, out bool proved)
        {
            proved = false;
            Dictionary<char, string> said = Parts(Encoding.UTF8.GetString(payload));
            if (said.ContainsKey('e'))
            {
                throw new MongoProblem(MongoFailure.Authentication, "the log-in failed: the server refuses the proof");
            }
            if (expected == null) { return Prove(payload, said); }
            if (!said.ContainsKey('v') || !Same(Decode(said['v']), expected))
            {
                throw new MongoProblem(
                    MongoFailure.Authentication, "the log-in failed: the server does not know the password itself");
            }
            proved = true;
            return new byte[0];
        }

        private byte[] Prove(byte[] payload, Dictionary<char, string> said)
        {
            int rounds;
            if (!said.ContainsKey('r') || !said.ContainsKey('s') || !said.ContainsKey('i')
                || !int.TryParse(said['i'], NumberStyles.None, CultureInfo.InvariantCulture, out rounds))
            {
                throw Malformed("it lacks nonce, salt or rounds");
            }
            if (!said['r'].StartsWith(nonce, StringComparison.Ordinal) || said['r'].Length == nonce.Length)
            {
                throw Malformed("its nonce does not continue ours");
            }
            if (rounds < FewestRounds || rounds > MostRounds) { throw Malformed("it asks for " + rounds + " rounds"); }
            string ending = "c=biws,r=" + said['r'];
            byte[] message = Encoding.UTF8.GetBytes(opening + "," + Encoding.UTF8.GetString(payload) + "," + ending);
            byte[] salted = Stretch(Decode(said['s']), rounds);
            byte[] clientKey = Mac(salted, Encoding.ASCII.GetBytes("Client Key"));
            byte[] proof = Mac(Hash(clientKey), message);
            for (int at = 0; at < proof.Length; at++) { proof[at] ^= clientKey[at]; }
            expected = Mac(Mac(salted, Encoding.ASCII.GetBytes("Server Key")), message);
            return Encoding.UTF8.GetBytes(ending + ",p=" + Convert.ToBase64String(proof));
        }

        // .NET Framework 4.6.2 has PBKDF2 with SHA-1 only.
        private byte[] Stretch(byte[] salt, int rounds)
        {
            byte[] first = new byte[salt.Length + 4];
            Buffer.BlockCopy(salt, 0, first, 0, salt.Length);
            first[first.Length - 1] = 1;
            using (HMAC mac = NewMac(secret))
            {
                byte[] block = mac.ComputeHash(first);
                byte[] result = (byte[])block.Clone();
                for (int round = 1; round < rounds; round++)
                {
                    block = mac.ComputeHash(block);
                    for (int at = 0; at < result.Length; at++) { result[at] ^= block[at]; }
                }
                return result;
            }
        }

        private HMAC NewMac(byte[] key)
        {
            return strong ? (HMAC)new HMACSHA256(key) : new HMACSHA1(key);
        }

        private byte[] Mac(byte[] key, byte[] text)
        {
            using (HMAC mac = NewMac(key)) { return mac.ComputeHash(text); }
        }

        private byte[] Hash(byte[] text)
        {
            using (HashAlgorithm hash = strong
                ? (HashAlgorithm)new SHA256CryptoServiceProvider() : new SHA1CryptoServiceProvider())
            {
                return hash.ComputeHash(text);
            }
        }

        /// <summary>The value that MongoDB uses as the password in SCRAM-SHA-1.</summary>
        private static byte[] Digest(string user, string password)
        {
            byte[] digest;
            try
            {
                using (MD5CryptoServiceProvider hash = new MD5CryptoServiceProvider())
                {
                    digest = hash.ComputeHash(Encoding.UTF8.GetBytes(user + ":mongo:" + password));
                }
            }
            // What .NET Framework throws under the FIPS policy.
            catch (InvalidOperationException)
            {
                throw new MongoProblem(MongoFailure.Authentication,
                    "a log-in by SCRAM-SHA-1 needs MD5, which the FIPS policy of this computer forbids");
            }
            StringBuilder text = new StringBuilder();
            foreach (byte each in digest) { text.Append(each.ToString("x2")); }
            return Encoding.ASCII.GetBytes(text.ToString());
        }

        private static Dictionary<char, string> Parts(string text)
        {
            Dictionary<char, string> found = new Dictionary<char, string>();
            foreach (string part in text.Split(','))
            {
                if (part.Length < 2 || part[1] != '=' || found.ContainsKey(part[0]))
                {
                    throw Malformed("it is not made of names and values");
                }
                found[part[0]] = part.Substring(2);
            }
            return found;
        }

        private static byte[] Decode(string text)
        {
            try { return Convert.FromBase64String(text); }
            catch (FormatException) { throw Malformed("a value in it is not base64"); }
        }

        private static bool Same(byte[] one, byte[] other)
        {
            int difference = one.Length ^ other.Length;
            for (int at = 0; at < Math.Min(one.Length, other.Length); at++) { difference |= one[at] ^ other[at]; }
            return difference == 0;
        }

        private static MongoProblem Malformed(string what)
        {
            return new MongoProblem(MongoFailure.Malformed, "the server sent a bad message of the log-in: " + what);
        }
    }

    /// <summary>SASLprep (RFC 4013), which SCRAM-SHA-256 applies to passwords.</summary>
    internal static class PreparedText
    {
        private const string Nothing =
            "\u00ad\u034f\u1806\u180b\u180c\u180d\u200b\u200c\u200d\u2060\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06" +
            "\ufe07\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f\ufeff";

        public static string Prepare(string text)
        {
            StringBuilder mapped = new StringBuilder();
            foreach (char letter in text)
            {
                if (Nothing.IndexOf(letter) >= 0) { continue; }
                bool blank = letter > 127 && char.GetUnicodeCategory(letter) == UnicodeCategory.SpaceSeparator;
                mapped.Append(blank ? ' ' : letter);
            }
            string prepared;
            try { prepared = mapped.ToString().Normalize(NormalizationForm.FormKC); }
            catch (ArgumentException) { throw Refused(); }
            foreach (char letter in prepared)
            {
                if (char.IsControl(letter)) { throw Refused(); }
            }
            return prepared;
        }

        private static MongoProblem Refused()
        {
            return new MongoProblem(MongoFailure.Authentication,
                "the password has a character that SCRAM-SHA-256 does not allow (a control character or half a pair)");
        }
    }

    /// <summary>The members of a document in their order.</summary>
    public sealed class BsonMap
    {
        private readonly List<KeyValuePair<string, object>> members = new List<KeyValuePair<string, object>>();
        private readonly Dictionary<string, int> places = new Dictionary<string, int>(StringComparer.Ordinal);

        public int Count
        {
            get { return members.Count; }
        }

        public string NameAt(int place)
        {
            return members[place].Key;
        }

        public object ValueAt(int place)
        {
            return members[place].Value;
        }

        /// <summary>Also null if the document has no such member.</summary>
        public object Get(string name)
        {
            int place;
            return places.TryGetValue(name, out place) ? members[place].Value : null;
        }

        public bool Has(string name)
        {
            return places.ContainsKey(name);
        }

        public BsonMap Add(string name, object value)
        {
            places.Add(name, members.Count);
            members.Add(new KeyValuePair<string, object>(name, value));
            return this;
        }

        public void Set(string name, object value)
        {
            int place;
            if (!places.TryGetValue(name, out place)) { Add(name, value); }
            else { members[place] = new KeyValuePair<string, object>(name, value); }
        }
    }

    /// <summary>Values that have no type in .NET.</summary>
    public enum BsonMark
    {
        Least,
        Greatest,
        /// <summary>A value of a type that no command of this client needs.</summary>
        Other
    }

    public sealed class BsonMistake : Exception
    {
        public BsonMistake(string message) : base(message)
        {
        }
    }

    public sealed class BsonWriter
    {
        private static readonly UTF8Encoding Utf8 = new UTF8Encoding(false, true);
        private readonly MemoryStream bytes = new MemoryStream();

        public byte[] ToArray()
        {
            return bytes.ToArray();
        }

        public void Byte(byte value)
        {
            bytes.WriteByte(value);
        }

        public void Int32(int value)
        {
            bytes.Write(BitConverter.GetBytes(value), 0, 4);
        }

        public void Name(string name)
        {
            if (name.IndexOf('\0') >= 0) { throw new BsonMistake("a name with a zero character"); }
            byte[] text = Utf8.GetBytes(name);
            bytes.Write(text, 0, text.Length);
            bytes.WriteByte(0);
        }

        public void Map(BsonMap map)
        {
            int start = Open();
            for (int place = 0; place < map.Count; place++) { Element(map.NameAt(place), map.ValueAt(place)); }
            Close(start);
        }

        private void List(List<object> list)
        {
            int start = Open();
            for (int place = 0; place < list.Count; place++)
            {
                Element(place.ToString(CultureInfo.InvariantCulture), list[place]);
            }
            Close(start);
        }

        private int Open()
        {
            Int32(0);
            return (int)bytes.Length - 4;
        }

        private void Close(int start)
        {
            bytes.WriteByte(0);
            int end = (int)bytes.Length;
            bytes.Position = start;
            Int32(end - start);
            bytes.Position = end;
        }

        private void Element(string name, object value)
        {
            if (value == null) { Begin(0x0A, name); }
            else if (value is double)
            {
                Begin(0x01, name);
                bytes.Write(BitConverter.GetBytes((double)value), 0, 8);
            }
            else if (value is string)
            {
                Begin(0x02, name);
                byte[] text = Utf8.GetBytes((string)value);
                Int32(text.Length + 1);
                bytes.Write(text, 0, text.Length);
                bytes.WriteByte(0);
            }
            else if (value is BsonMap)
            {
                Begin(0x03, name);
                Map((BsonMap)value);
            }
            else if (value is List<object>)
            {
                Begin(0x04, name);
                List((List<object>)value);
            }
            else if (value is byte[])
            {
                Begin(0x05, name);
                byte[] binary = (byte[])value;
                Int32(binary.Length);
                bytes.WriteByte(0);
                bytes.Write(binary, 0, binary.Length);
            }
            else if (value is bool)
            {
                Begin(0x08, name);
                bytes.WriteByte((byte)((bool)value ? 1 : 0));
            }
            else if (value is int)
            {
                Begin(0x10, name);
                Int32((int)value);
            }
            else if (value is long)
            {
                Begin(0x12, name);
                bytes.Write(BitConverter.GetBytes((long)value), 0, 8);
            }
            else if (BsonMark.Least.Equals(value)) { Begin(0xFF, name); }
            else if (BsonMark.Greatest.Equals(value)) { Begin(0x7F, name); }
            else { throw new BsonMistake("a value of the type " + value.GetType().Name); }
        }

        private void Begin(byte type, string name)
        {
            bytes.WriteByte(type);
            Name(name);
        }
    }

    /// <summary>Reads one document that fills its place to the last byte.</summary>
    public sealed class BsonReader
    {
        // The server allows 180 levels.
        private const int Deepest = 200;
        private static readonly UTF8Encoding Strict = new UTF8Encoding(false, true);
        private readonly byte[] bytes;
        private int next;

        private BsonReader(byte[] bytes, int start)
        {
            this.bytes = bytes;
            next = start;
        }

        public static BsonMap Read(byte[] bytes, int start, int end)
        {
            if (start < 0 || end > bytes.Length || end < start) { throw new BsonMistake("no document"); }
            BsonReader reader = new BsonReader(bytes, start);
            BsonMap map = (BsonMap)reader.Document(end, 0, false);
            if (reader.next != end) { throw new BsonMistake((end - reader.next) + " bytes after a document"); }
            return map;
        }

        /// <summary>A document as BsonMap, or a list, whose names count from 0.</summary>
        private object Document(int limit, int depth, bool isList)
        {
            int start = next;
            int length = Int32(limit);
            if (length < 5 || length > limit - start) { throw Bad(start, "a document of " + length + " bytes"); }
            if (depth == Deepest) { throw Bad(start, "documents nested deeper than " + Deepest); }
            int end = start + length - 1;
            if (bytes[end] != 0) { throw Bad(end, "a document that is not terminated where its length says"); }
            BsonMap map = isList ? null : new BsonMap();
            List<object> list = isList ? new List<object>() : null;
            while (next < end)
            {
                byte type = bytes[next++];
                int at = next;
                string name = Name(end);
                if (isList)
                {
                    if (name != list.Count.ToString(CultureInfo.InvariantCulture))
                    {
                        throw Bad(at, "a list that does not count its values");
                    }
                    list.Add(Value(type, end, depth));
                }
                else
                {
                    if (map.Has(name)) { throw Bad(at, "a name twice in one document"); }
                    map.Add(name, Value(type, end, depth));
                }
            }
            next = end + 1;
            return isList ? (object)list : map;
        }

        private object Value(byte type, int end, int depth)
        {
            int start = next;
            switch (type)
            {
                case 0x01: return BitConverter.ToDouble(bytes, Take(8, end));
                case 0x02: // string
                case 0x0D: // code
                case 0x0E: // symbol
                    return String(end);
                case 0x03: return Document(end, depth + 1, false);
                case 0x04: return Document(end, depth + 1, true);
                case 0x05:
                    int length = Int32(end);
                    Take(1, end);
                    if (length < 0 || length > end - next) { throw Bad(start, "binary data of " + length + " bytes"); }
                    byte[] binary = new byte[length];
                    Buffer.BlockCopy(bytes, Take(length, end), binary, 0, length);
                    return binary;
                case 0x06: // undefined
                case 0x0A: // null
                    return null;
                case 0x07: return Skip(12, end); // object id
                case 0x08:
                    byte value = bytes[Take(1, end)];
                    if (value > 1) { throw Bad(start, "a boolean of " + value); }
                    return value == 1;
                case 0x09: // date
                case 0x11: // timestamp
                    return Skip(8, end);
                case 0x0B: // regular expression
                    Name(end);
                    Name(end);
                    return BsonMark.Other;
                case 0x0C: // pointer into a collection
                    String(end);
                    return Skip(12, end);
                case 0x0F: // code with scope
                    int whole = Int32(end);
                    if (whole < 14 || whole > end - start) { throw Bad(start, "code of " + whole + " bytes"); }
                    String(start + whole);
                    Document(start + whole, depth + 1, false);
                    if (next != start + whole) { throw Bad(start, "code that does not end where its length says"); }
                    return BsonMark.Other;
                case 0x10: return Int32(end);
                case 0x12: return BitConverter.ToInt64(bytes, Take(8, end));
                case 0x13: return Skip(16, end); // 128-bit decimal
                case 0x7F: return BsonMark.Greatest;
                case 0xFF: return BsonMark.Least;
                default: throw Bad(start, "0x" + type.ToString("x2") + " is no type");
            }
        }

        private BsonMark Skip(int count, int end)
        {
            Take(count, end);
            return BsonMark.Other;
        }

        /// <summary>The position of the next bytes, which must end before the end of the document.</summary>
        private int Take(int count, int end)
        {
            if (count > end - next) { throw Bad(next, "a value that does not fit into its document"); }
            int at = next;
            next += count;
            return at;
        }

        private int Int32(int end)
        {
            return BitConverter.ToInt32(bytes, Take(4, end));
        }

        private string Name(int end)
        {
            int stop = Array.IndexOf(bytes, (byte)0, next, end - next);
            if (stop < 0) { throw Bad(next, "a name that is not terminated inside its document"); }
            int at = next;
            next = stop + 1;
            try { return Strict.GetString(bytes, at, stop - at); }
            catch (ArgumentException) { throw Bad(at, "a name that is no UTF-8"); }
        }

        private string String(int end)
        {
            int start = next;
            int length = Int32(end);
            if (length < 1 || length > end - next) { throw Bad(start, "a text of " + length + " bytes"); }
            int at = Take(length, end);
            if (bytes[next - 1] != 0) { throw Bad(start, "a text that is not terminated where its length says"); }
            // A server stores any bytes in a text, and returns them in answers about damaged collections.
            return Encoding.UTF8.GetString(bytes, at, length - 1);
        }

        private static BsonMistake Bad(int at, string what)
        {
            return new BsonMistake(what + " (at byte " + at + ")");
        }
    }
}
