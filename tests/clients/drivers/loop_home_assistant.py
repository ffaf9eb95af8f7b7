"""Home Assistant's `ollama` integration: set up as its page does it, asked by the conversation's service.

The integration sends no header, so the key is in the address. The tools are an API for models, as an integration of
the house's own registers one.
"""

import os
from pathlib import Path

import voluptuous as vol
from homeassistant import bootstrap, core, loader
from homeassistant.config_entries import SOURCE_USER, ConfigEntries
from homeassistant.core_config import async_process_ha_core_config
from homeassistant.helpers import llm
from homeassistant.setup import async_setup_component
from loop_steps import FUNCTIONS, KEY, MODEL, PARAMETERS, TASK, URL, loop

FOLDER = Path("config").absolute()
FOLDER.mkdir()
AGENT = {"name": "helper", "model": MODEL, "prompt": "Help.", "llm_hass_api": ["town"], "think": True}


class TownsTool(llm.Tool):
    """One of the functions."""

    def __init__(self, function):
        self.function, self.name, self.description = function, function.__name__, function.__doc__
        self.parameters = vol.Schema({vol.Required(name): str for name in PARAMETERS[self.name]["properties"]})

    async def async_call(self, hass, tool_input, llm_context):
        return {"said": self.function(**self.parameters(tool_input.tool_args))}


class Town(llm.API):
    """All of them."""

    async def async_get_api_instance(self, llm_context):
        return llm.APIInstance(self, "Use the tools.", llm_context, [TownsTool(each) for each in FUNCTIONS])


async def begun():
    """A house with what a conversation needs."""
    hass = core.HomeAssistant(str(FOLDER))
    loader.async_setup(hass)
    settings = {"http": {"server_host": "127.0.0.1", "server_port": int(os.environ["FREE_PORT"])}}
    hass.config.skip_pip = True
    hass.config_entries = ConfigEntries(hass, settings)
    await loader.async_get_custom_components(hass)
    await bootstrap.async_load_base_functionality(hass)
    await async_process_ha_core_config(hass, {})
    for name in ("homeassistant", "conversation"):
        if not await async_setup_component(hass, name, settings):
            raise RuntimeError(f"{name} cannot be set up")
    llm.async_register_api(hass, Town(hass=hass, id="town", name="Town"))
    await hass.async_start()
    return hass


async def connected(hass):
    """The integration, with its agent."""
    flows = hass.config_entries.flow
    made = await flows.async_init("ollama", context={"source": SOURCE_USER}, data={"url": f"{URL}/k/{KEY}"})
    entry = made["result"]
    await hass.async_block_till_done()
    form = await hass.config_entries.subentries.async_init(
        (entry.entry_id, "conversation"), context={"source": SOURCE_USER}
    )
    told = await hass.config_entries.subentries.async_configure(form["flow_id"], dict(AGENT))
    if told["type"] != "create_entry":
        raise RuntimeError(f"the agent cannot be made: {told}")
    await hass.async_block_till_done()


async def asked(hass):
    """What the agent says."""
    (agent,) = (each for each in hass.states.async_entity_ids("conversation") if each != "conversation.home_assistant")
    said = await hass.services.async_call(
        "conversation", "process", {"text": TASK, "agent_id": agent}, blocking=True, return_response=True
    )
    return said["response"]["speech"]["plain"]["speech"]


async def streamed():
    hass = await begun()
    try:
        await connected(hass)
        return await asked(hass)
    finally:
        await hass.async_stop(force=True)


loop(streamed=streamed)
