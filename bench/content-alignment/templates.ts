// Chat templates of the three shapes in use, in the words of no model in particular.

export interface ChatTemplate {
  readonly name: string;
  readonly source: string;
  /** Written into the prompt as one token each. */
  readonly markers: readonly string[];
  readonly hasTools: boolean;
}

/** Tools behind the system's text; thoughts of earlier turns are dropped. */
const CHATML: ChatTemplate = {
  name: "chatml",
  hasTools: true,
  markers: ["<|im_start|>", "<|im_end|>", "<|image|>"],
  source: `{%- if tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n\\nYou may call these functions:\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(last=0) %}
{%- for message in messages %}{%- if message.role == 'user' %}{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}
{%- for message in messages %}
{%- if not (message.role == 'system' and loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}
{%- set text = message.content %}
{%- if message.role == 'assistant' and '</think>' in text and loop.index0 < ns.last %}
{%- set text = text.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{{- text }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'text' %}{{- part.text }}{%- else %}{{- '<|image|>' }}{%- endif %}
{%- endfor %}
{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '\\n<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{%- if call.function.arguments is string %}{{- call.function.arguments }}{%- else %}{{- call.function.arguments | tojson }}{%- endif %}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}`,
};

/** Trims, begins with a date, and writes tools into the first user's message, indented. */
const HEADER: ChatTemplate = {
  name: "header",
  hasTools: true,
  markers: ["<|begin|>", "<|start_header|>", "<|end_header|>", "<|eot|>", "<|image|>"],
  source: `{{- '<|begin|><|start_header|>system<|end_header|>\\n\\nToday Date: ' + date + '\\n\\n' }}
{%- set rest = messages %}
{%- if messages[0].role == 'system' %}{{- messages[0].content | trim }}{%- set rest = messages[1:] %}{%- endif %}
{{- '<|eot|>' }}
{%- for message in rest %}
{{- '<|start_header|>' + message.role + '<|end_header|>\\n\\n' }}
{%- if loop.first and tools %}
{{- 'Given these functions, answer with a call.\\n\\n' }}
{%- for tool in tools %}{{- tool | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}
{%- endif %}
{%- if message.content is string %}{{- message.content | trim }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'text' %}{{- part.text | trim }}{%- else %}{{- '<|image|>' }}{%- endif %}
{%- endfor %}
{%- endif %}
{%- for call in message.tool_calls or [] %}
{{- '{"name": "' + call.function.name + '", "parameters": ' }}
{%- if call.function.arguments is string %}{{- call.function.arguments }}{%- else %}{{- call.function.arguments | tojson }}{%- endif %}
{{- '}' }}
{%- endfor %}
{{- '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header|>assistant<|end_header|>\\n\\n' }}{%- endif %}`,
};

/** No system's turn: its text goes before the first user's. */
const TURN: ChatTemplate = {
  name: "turn",
  hasTools: false,
  markers: ["<bos>", "<start_of_turn>", "<end_of_turn>", "<|image|>"],
  source: `{{- '<bos>' }}
{%- set rest = messages %}{%- set prefix = '' %}
{%- if messages[0].role == 'system' %}{%- set prefix = messages[0].content + '\\n\\n' %}{%- set rest = messages[1:] %}{%- endif %}
{%- for message in rest %}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{%- if loop.first %}{{- prefix }}{%- endif %}
{%- if message.content is string %}{{- message.content | trim }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'text' %}{{- part.text | trim }}{%- else %}{{- '<|image|>' }}{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}`,
};

export const TEMPLATES: readonly ChatTemplate[] = [CHATML, HEADER, TURN];
