# Copyright (c) alteryx_ops.server_backup contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WS-Management messages of the Windows remote shell: requests read, answers and faults written."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape, quoteattr

import defusedxml
from defusedxml.ElementTree import fromstring

from .executor import Taken

SHELL_URI = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
CMD_URI = f"{SHELL_URI}/cmd"
TRANSFER_URI = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
_ENVELOPE = "http://www.w3.org/2003/05/soap-envelope"
_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_WSMAN = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
_FAULT = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
_ANONYMOUS = f"{_ADDRESSING}/role/anonymous"

# Full action -> the short name used here and in the log.
ACTIONS = {
    f"{TRANSFER_URI}/Create": "Create",
    f"{TRANSFER_URI}/Delete": "Delete",
    f"{SHELL_URI}/Command": "Command",
    f"{SHELL_URI}/Send": "Send",
    f"{SHELL_URI}/Receive": "Receive",
    f"{SHELL_URI}/Signal": "Signal",
}
_RESPONSES = {short: f"{full}Response" for full, short in ACTIONS.items()}

_DEFAULT_OPERATION_TIMEOUT = 60.0
_DEFAULT_ENVELOPE = 153_600
_MINIMUM_ENVELOPE = 8_192
_ENVELOPE_OVERHEAD = 2_048


class WsmanFault(Exception):
    """A request the service refuses, with the code a Windows host would name.

    ``wmi_code`` is the second code that quota faults carry in their detail; Ansible looks at that one.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        *,
        subcode: str = "w:InternalError",
        sender: bool = False,
        wmi_code: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.subcode = subcode
        self.sender = sender
        self.wmi_code = wmi_code


def operation_timed_out() -> WsmanFault:
    """The fault by which a host says: nothing yet, ask again."""
    return WsmanFault(
        2150858793,
        "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.",
        subcode="w:TimedOut",
    )


def malformed(reason: str) -> WsmanFault:
    """A request that makes no sense."""
    return WsmanFault(2150858817, f"The request is not valid: {reason}", subcode="w:SchemaValidationError", sender=True)


def shell_not_found(shell_id: str) -> WsmanFault:
    """A shell that was never there or has been deleted."""
    return WsmanFault(
        2150858843,
        f"The request for the Windows Remote Shell with ShellId {shell_id} failed because the shell was not found on "
        "the server. Possible causes are: the specified ShellId is incorrect or the shell no longer exists on the "
        "server. Provide the correct ShellId or create a new shell and retry the operation.",
        subcode="w:InvalidSelectors",
        sender=True,
    )


@dataclass(frozen=True)
class Request:
    """The header of a request and its body, still as XML."""

    action: str
    message_id: str
    shell_id: str
    options: dict[str, str]
    operation_timeout: float
    envelope_size: int
    body: Element

    def output_limit(self) -> int:
        """Bytes of output that fit into an answer the client takes."""
        return max(self.envelope_size - _ENVELOPE_OVERHEAD, _MINIMUM_ENVELOPE) * 3 // 4

    def option(self, name: str) -> bool:
        """A boolean of the option set; False when absent."""
        return self.options.get(name, "").casefold() in ("true", "1")


def parse(raw: bytes) -> Request:
    """Read a request.

    Raises:
        WsmanFault: no well-formed envelope, or an action or resource other than the remote shell's.
    """
    try:
        envelope = fromstring(raw)
    except (ParseError, defusedxml.DefusedXmlException, ValueError) as error:
        raise malformed(f"no well-formed XML ({error})") from error
    header, body = envelope.find(f"{{{_ENVELOPE}}}Header"), envelope.find(f"{{{_ENVELOPE}}}Body")
    if envelope.tag != f"{{{_ENVELOPE}}}Envelope" or header is None or body is None:
        raise malformed("no SOAP 1.2 envelope")
    full_action = _text(header, _ADDRESSING, "Action")
    resource = _text(header, _WSMAN, "ResourceURI")
    if full_action not in ACTIONS:
        raise WsmanFault(
            2150858821,
            f"The action {full_action} is not supported by the service.",
            subcode="a:ActionNotSupported",
            sender=True,
        )
    if resource != CMD_URI:
        raise WsmanFault(
            2150858752,
            f"The service cannot process the resource URI {resource}.",
            subcode="a:DestinationUnreachable",
            sender=True,
        )
    selectors = {node.get("Name", ""): (node.text or "").strip() for node in header.iter(f"{{{_WSMAN}}}Selector")}
    return Request(
        action=ACTIONS[full_action],
        message_id=_text(header, _ADDRESSING, "MessageID"),
        shell_id=selectors.get("ShellId", ""),
        options={node.get("Name", ""): (node.text or "").strip() for node in header.iter(f"{{{_WSMAN}}}Option")},
        operation_timeout=_seconds(_text(header, _WSMAN, "OperationTimeout")),
        envelope_size=_integer(_text(header, _WSMAN, "MaxEnvelopeSize"), _DEFAULT_ENVELOPE),
        body=body,
    )


@dataclass(frozen=True)
class ShellRequest:
    """What a Create asks for."""

    working_directory: str | None
    environment: dict[str, str]


def read_create(request: Request) -> ShellRequest:
    """The body of a Create."""
    shell = request.body.find(f"{{{SHELL_URI}}}Shell")
    if shell is None:
        raise malformed("Create without a Shell")
    environment = {node.get("Name", ""): node.text or "" for node in shell.iter(f"{{{SHELL_URI}}}Variable")}
    return ShellRequest(_text(shell, SHELL_URI, "WorkingDirectory") or None, environment)


@dataclass(frozen=True)
class CommandRequest:
    """What a Command asks for."""

    command: str
    arguments: str
    skip_cmd_shell: bool

    def text(self) -> str:
        """Command and arguments as typed."""
        return f"{self.command} {self.arguments}".rstrip()


def read_command(request: Request) -> CommandRequest:
    """The body of a Command."""
    line = request.body.find(f"{{{SHELL_URI}}}CommandLine")
    command = "" if line is None else _text(line, SHELL_URI, "Command")
    if line is None or not command:
        raise malformed("Command without a command")
    arguments = " ".join(node.text or "" for node in line.findall(f"{{{SHELL_URI}}}Arguments"))
    return CommandRequest(command, arguments, request.option("WINRS_SKIP_CMD_SHELL"))


@dataclass(frozen=True)
class InputRequest:
    """What a Send brings."""

    command_id: str
    data: bytes
    end: bool


def read_send(request: Request) -> InputRequest:
    """The body of a Send."""
    streams = list(request.body.iter(f"{{{SHELL_URI}}}Stream"))
    if not streams:
        raise malformed("Send without a Stream")
    if any(node.get("Name") != "stdin" for node in streams):
        raise malformed("a Stream other than stdin")
    try:
        data = b"".join(base64.b64decode("".join((node.text or "").split()), validate=True) for node in streams)
    except binascii.Error as error:
        raise malformed(f"a Stream that is not base64 ({error})") from error
    end = any(node.get("End", "").casefold() in ("true", "1") for node in streams)
    return InputRequest(streams[0].get("CommandId", ""), data, end)


def read_receive(request: Request) -> str:
    """The command a Receive waits for."""
    desired = request.body.find(f".//{{{SHELL_URI}}}DesiredStream")
    if desired is None:
        raise malformed("Receive without a DesiredStream")
    return desired.get("CommandId", "")


def read_signal(request: Request) -> tuple[str, str]:
    """The command a Signal is for, and the last part of its code: terminate, ctrl_c, ctrl_break."""
    signal = request.body.find(f"{{{SHELL_URI}}}Signal")
    if signal is None:
        raise malformed("Signal without a Signal")
    return signal.get("CommandId", ""), _text(signal, SHELL_URI, "Code").rsplit("/", 1)[-1]


def created(request: Request, shell_id: str, user: str) -> bytes:
    """Answer to Create."""
    return _answer(
        request,
        f"""<x:ResourceCreated><a:Address>https://127.0.0.1/wsman</a:Address><a:ReferenceParameters>\
<w:ResourceURI>{CMD_URI}</w:ResourceURI>\
<w:SelectorSet><w:Selector Name="ShellId">{shell_id}</w:Selector></w:SelectorSet>\
</a:ReferenceParameters></x:ResourceCreated>\
<rsp:Shell><rsp:ShellId>{shell_id}</rsp:ShellId><rsp:ResourceUri>{CMD_URI}</rsp:ResourceUri>\
<rsp:Owner>{escape(user)}</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP>\
<rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut>\
<rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>""",
    )


def command_started(request: Request, command_id: str) -> bytes:
    """Answer to Command."""
    return _answer(request, f"<rsp:CommandResponse><rsp:CommandId>{command_id}</rsp:CommandId></rsp:CommandResponse>")


def sent(request: Request) -> bytes:
    """Answer to Send."""
    return _answer(request, "<rsp:SendResponse/>")


def received(request: Request, command_id: str, taken: Taken) -> bytes:
    """Answer to Receive: the pieces of output and whether the command has ended."""
    parts = [
        f'<rsp:Stream Name="{chunk.stream}" CommandId={quoteattr(command_id)}>'
        f"{base64.b64encode(chunk.data).decode('ascii')}</rsp:Stream>"
        for chunk in taken.chunks
    ]
    if taken.exit_code is None:
        parts.append(f'<rsp:CommandState CommandId={quoteattr(command_id)} State="{SHELL_URI}/CommandState/Running"/>')
    else:
        parts += [
            f'<rsp:Stream Name="{name}" CommandId={quoteattr(command_id)} End="true"/>' for name in ("stdout", "stderr")
        ]
        parts.append(
            f'<rsp:CommandState CommandId={quoteattr(command_id)} State="{SHELL_URI}/CommandState/Done">'
            f"<rsp:ExitCode>{taken.exit_code}</rsp:ExitCode></rsp:CommandState>"
        )
    return _answer(request, f"<rsp:ReceiveResponse>{''.join(parts)}</rsp:ReceiveResponse>")


def signalled(request: Request) -> bytes:
    """Answer to Signal."""
    return _answer(request, "<rsp:SignalResponse/>")


def deleted(request: Request) -> bytes:
    """Answer to Delete."""
    return _answer(request, "")


def fault(refusal: WsmanFault, message_id: str = "") -> bytes:
    """The SOAP fault of a refused request; it goes with HTTP status 500."""
    detail = (
        f'<f:WSManFault xmlns:f="{_FAULT}" Code="{refusal.code}" Machine="127.0.0.1">'
        f"<f:Message>{escape(refusal.reason)}</f:Message></f:WSManFault>"
    )
    if refusal.wmi_code is not None:
        detail += (
            '<p:MSFT_WmiError xmlns:p="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/MSFT_WmiError" '
            f"><p:error_Code>{refusal.wmi_code}</p:error_Code>"
            f"<p:error_Message>{escape(refusal.reason)}</p:error_Message></p:MSFT_WmiError>"
        )
    body = (
        f"<s:Fault><s:Code><s:Value>s:{'Sender' if refusal.sender else 'Receiver'}</s:Value>"
        f"<s:Subcode><s:Value>{refusal.subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en-US">{escape(refusal.reason)}</s:Text></s:Reason>'
        f"<s:Detail>{detail}</s:Detail></s:Fault>"
    )
    return _envelope("http://schemas.dmtf.org/wbem/wsman/1/wsman/fault", message_id, body)


def _answer(request: Request, body: str) -> bytes:
    return _envelope(_RESPONSES[request.action], request.message_id, body)


def _envelope(action: str, relates_to: str, body: str) -> bytes:
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{_ENVELOPE}" xmlns:a="{_ADDRESSING}" xmlns:x="{TRANSFER_URI}" '
        f'xmlns:w="{_WSMAN}" xmlns:rsp="{SHELL_URI}"><s:Header><a:Action>{action}</a:Action>'
        f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID>"
        f"<a:To>{_ANONYMOUS}</a:To><a:RelatesTo>{escape(relates_to)}</a:RelatesTo></s:Header>"
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def _text(parent: Element, namespace: str, name: str) -> str:
    return (parent.findtext(f"{{{namespace}}}{name}") or "").strip()


def _integer(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default


def _seconds(duration: str) -> float:
    match = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", duration)
    if not match or not any(match.groups()):
        return _DEFAULT_OPERATION_TIMEOUT
    days, hours, minutes, seconds = (float(group or 0) for group in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
